"""Text that people type and others read, such as names: one normal form. No I/O."""

import re
import unicodedata

# Letters that show nothing (Unicode: Default_Ignorable_Code_Point, and the Braille blank), so that two names look
# alike.
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Control, format, surrogate, private use, unassigned: invisible, or different on every screen. Among the format
# characters are those that turn the direction of text round (U+202A to U+202E, U+2066 to U+2069).
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Persian, Hindi and others need these between two letters; emoji are joined by the second.
_JOINER = re.compile(r"(?<=\S)[\u200c\u200d](?=\S)")


def one_line(text: str, most: int) -> str:
    """Return the text in NFC on one line, each run of white space as one space.

    Raises ValueError unless 1 to `most` characters are left, all of them visible. The length is that of the normal
    form.
    """
    line = " ".join(unicodedata.normalize("NFC", text).split())
    for character in _JOINER.sub("", line):
        if character in _BLANK_LETTERS or unicodedata.category(character) in _UNSEEN:
            raise ValueError("leave out control characters and invisible characters")
    return limited(line, 1, most)


def limited(text: str, least: int, most: int) -> str:
    """Return the text. Raises ValueError unless it has `least` to `most` characters (code points)."""
    if not least <= len(text) <= most:
        raise ValueError(f"use {least} to {most} characters")
    return text
