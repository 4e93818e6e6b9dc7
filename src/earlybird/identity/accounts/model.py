"""What an account is, and its rules. Pure: no I/O, no clock."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import email_validator
import phonenumbers

from earlybird.access.permissions import CUSTOMER, ROLES
from earlybird.identity.passwords.rules import LONGEST
from earlybird.text import limited, one_line

LoginField = Literal["username", "email", "phone"]
LoginKey = tuple[LoginField, str]

_USERNAME = re.compile(r"[a-z0-9._-]{3,32}")
_LETTER = re.compile(r"[a-z]")
_PHONE = re.compile(r"[\d\s().+/\-\u2010-\u2015]{3,64}")
_EMAIL_LOCAL_OCTETS, _EMAIL_OCTETS = 64, 254
_LONGEST_NAME = 200
_OLDEST = 150


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account about to be made: every field in its normal form, the password still in the clear."""

    username: str
    email: str
    phone: str
    password: str = field(repr=False)
    full_name: str
    birthday: date
    accept_language: str | None = None  # as the client says it (RFC 9110)


@dataclass(frozen=True, slots=True)
class User:
    """What a login needs to know of an account."""

    id: UUID
    password_hash: str = field(repr=False)
    is_active: bool
    is_first_login: bool
    roles: list[str]
    epoch: int = 0  # how often all sessions of this person were ended
    is_locked: bool = False  # after too many guesses: only a known device may log in
    is_verified: bool = True  # False: it waits for its contacts to be confirmed, and is no account yet

    @property
    def awaits_first_login(self) -> bool:
        """Whether the next login counts as the first: it has not happened, and staff are no customers.

        As far as is known here: `UserStore.mark_first_login` decides by the same rule.
        """
        return self.is_first_login and self.is_active and CUSTOMER in self.roles


def normalise_username(text: str) -> str:
    """Return the one form of a user name: NFKC, case-folded; 3–32 of a–z, 0–9, `.`, `_`, `-`. Raises
    ValueError."""
    username = unicodedata.normalize("NFKC", text).casefold()
    if not _USERNAME.fullmatch(username):
        raise ValueError("use 3 to 32 of the letters a-z, digits, dot, underscore and hyphen")
    return username


def new_username(text: str) -> str:
    """Return the one form of a user name that may be taken: a letter in it tells it from a phone number.

    Raises ValueError.
    """
    username = normalise_username(text)
    if not _LETTER.search(username):
        raise ValueError("use at least one letter a-z")
    return username


def normalise_email(text: str) -> str:
    """Return the one form of an e-mail address: valid in syntax (RFC 5321, 6531), lower case, NFC. Raises
    ValueError.

    The limits are those of RFC 5321, 4.5.3.1: 64 octets before the `@`, 254 octets in all.
    """
    try:
        email = _lower_case_email(text)
        if _lower_case_email(email) == email and _fits_smtp(email):
            return email
    except email_validator.EmailNotValidError:
        pass  # the library's message repeats the address
    raise ValueError("this is not a valid e-mail address")


def _lower_case_email(text: str) -> str:
    address = email_validator.validate_email(text, check_deliverability=False).normalized
    return unicodedata.normalize("NFC", address.lower())  # a small letter may compose where the capital does not


def _fits_smtp(email: str) -> bool:
    local, _, _ = email.rpartition("@")
    return len(local.encode()) <= _EMAIL_LOCAL_OCTETS and len(email.encode()) <= _EMAIL_OCTETS


def normalise_phone(text: str, country: str) -> str:
    """Return the one form of a phone number: E.164, such as +84912345678. Raises ValueError.

    A number without `+` is one of this country (ISO 3166), as people there dial it.
    """
    number = None
    if _PHONE.fullmatch(unicodedata.normalize("NFKC", text)):  # the library would search a number in a sentence
        with suppress(phonenumbers.NumberParseException):
            number = phonenumbers.parse(text, country)
    if number is None or not phonenumbers.is_valid_number(number):
        raise ValueError("give a valid phone number, such as +84 912 345 678")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalise_password(text: str) -> str:
    """Return the one form of a password, so that every keyboard's `é` is the same (RFC 8265: NFC).

    Raises ValueError if it has more than 128 characters then.
    """
    return limited(unicodedata.normalize("NFC", text), 1, LONGEST)


def normalise_full_name(text: str) -> str:
    """Return a name on one line, in NFC, at most 200 characters, all visible. Raises ValueError."""
    return one_line(text, _LONGEST_NAME)


def parse_birthday(text: str) -> date:
    """Read an ISO 8601 date, or the date of an ISO 8601 datetime as written. Raises ValueError."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError("give an ISO 8601 date, such as 1990-12-31") from None


def check_birthday(birthday: date, today: date) -> date:
    """Return the birthday if a living person may have it. Raises ValueError."""
    if not 0 <= today.year - birthday.year <= _OLDEST or birthday > today:
        raise ValueError("this is no birthday of a living person")
    return birthday


def login_keys(text: str, country: str) -> list[LoginKey]:
    """Return each unique field that somebody may mean by this text, with its normal form; none if it can be
    nobody's.

    There is one, except for digits: they are a phone number, or else a user name of the time when a user name
    needed no letter.
    """
    if "@" in text:
        forms: list[tuple[LoginField, Callable[[], str]]] = [("email", lambda: normalise_email(text))]
    else:
        forms = [("phone", lambda: normalise_phone(text, country)), ("username", lambda: normalise_username(text))]
    keys: list[LoginKey] = []
    for name, normalised in forms:
        with suppress(ValueError):
            keys.append((name, normalised()))
    return keys


def with_role(roles: Sequence[str], role: str) -> list[str]:
    """Return the roles with one more. Raises ValueError if there is no such role."""
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}; there are {', '.join(ROLES)}")
    return [*roles, *([] if role in roles else [role])]


def without_role(roles: Sequence[str], role: str) -> list[str]:
    """Return the roles without one. Raises ValueError if there is no such role."""
    return [one for one in with_role(roles, role) if one != role]
