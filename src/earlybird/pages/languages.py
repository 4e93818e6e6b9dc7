"""The words of the pages in each language, and whose language is which. No I/O after the start.

Words live in `words/<language>.json`. `{name}` in them is filled in by the template.
"""

import json
from collections.abc import Mapping
from pathlib import Path

COOKIE = "earlybird_language"
NAMES = {"en": "English", "vi": "Tiếng Việt"}
_FOLDER = Path(__file__).parent / "words"


class Words:
    """All words, read once."""

    def __init__(self) -> None:
        self.by_language: Mapping[str, Mapping[str, str]] = {
            language: json.loads((_FOLDER / f"{language}.json").read_text("utf-8")) for language in NAMES
        }

    def say(self, language: str, key: str, **values: object) -> str:
        """Return a sentence. Raises KeyError for one that nobody has written."""
        return self.by_language[language][key].format(**values)

    def knows(self, key: str) -> bool:
        """Say whether there is such a sentence."""
        return key in self.by_language["en"]


def preferred(cookie: str | None, accept: str) -> str:
    """Return the language that a person chose, or else what their browser asks for (RFC 9110, 12.5.4)."""
    if cookie in NAMES:
        return str(cookie)
    asked = []
    for part in accept.split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            asked.append((float(weight or 1), tag.partition("-")[0].lower()))
        except ValueError:
            continue
    known = [(weight, language) for weight, language in asked if language in NAMES and weight > 0]
    return max(known, key=lambda one: one[0])[1] if known else "en"
