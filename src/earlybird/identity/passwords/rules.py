"""Which passwords may be chosen, after NIST SP 800-63B-4, 3.1.1.2, and OWASP ASVS 5.0, 6.2. Pure: no I/O.

No kind of character is asked for, and no password expires: such rules make passwords worse.
"""

import re
import sys
from collections.abc import Iterable, Iterator

from earlybird.errors import Refusal

LONGEST = 128  # characters
_COMMONEST = 3000  # ASVS 6.2.4
_SHORTEST_WORD = 4  # characters: shorter parts of a name stand in many good passwords
_REST = 4  # characters that must be left of a password without the person's own words
_NO_LETTER = re.compile(r"[\W\d_]+")
_NO_DIGIT = re.compile(r"\D+")


class PasswordRules:
    """The rules of one deployment: passwords have at least `least` characters."""

    def __init__(self, least: int, service: str) -> None:
        self.least = least
        self._service = service
        self._commonest = _commonest(least)

    def check(self, password: str, person: Iterable[str]) -> None:
        """Refuse a password that is easily guessed. Raises Refusal `invalid_field` or `weak_password`.

        `password` is in its normal form (NFC). `person` is what others may know: user name, e-mail address, phone
        number, full name.
        """
        if not self.least <= len(password) <= LONGEST:
            raise Refusal("invalid_field", f"password: use {self.least} to {LONGEST} characters.")
        if password.casefold() in self._commonest:
            raise weak("this is among the most used passwords")
        if _is_built_from([self._service], password):
            raise weak("this is built from the name of this service")
        if _is_built_from(person, password):
            raise weak("this is built from your own name, user name, e-mail address or phone number")


def weak(reason: str) -> Refusal:
    """Return the refusal of a password that is easily guessed."""
    return Refusal("weak_password", f"password: {reason}. Choose another, such as four words of your own.")


def _is_built_from(texts: Iterable[str], password: str) -> bool:
    """Tell whether little is left of the password without these words, digits and marks.

    A phone number is found by its last digits, with which people dial it.
    """
    texts = list(texts)
    folded = password.casefold()
    if any(len(digits) >= 2 * _SHORTEST_WORD and digits in folded for digits in map(_dialled, texts)):
        return True
    letters = _NO_LETTER.sub("", folded)
    rest = letters
    for word in sorted(_words(texts), key=len, reverse=True):
        rest = rest.replace(word, "").replace(word[::-1], "")
    return rest != letters and len(rest) < _REST


def _words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        words = _NO_LETTER.split(text.casefold())
        for word in (*words, "".join(words)):
            if len(word) >= _SHORTEST_WORD:
                yield word


def _dialled(text: str) -> str:
    return _NO_DIGIT.sub("", text)[-9:] if text.startswith("+") else ""


def _commonest(least: int) -> frozenset[str]:
    """Return the 3,000 most used passwords of at least so many characters, or all that the list has.

    zxcvbn's lists take 12 MB: what is not needed is dropped again.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    allowed = [password for password in FREQUENCY_LISTS["passwords"] if len(password) >= least]
    for module in [name for name in sys.modules if name.partition(".")[0] == "zxcvbn"]:
        del sys.modules[module]
    return frozenset(allowed[:_COMMONEST])
