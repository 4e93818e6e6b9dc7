"""What an account is, and its rules. Pure: no I/O, no clock."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import email_validator
import phonenumbers

from earlybird.access.permissions import CUSTOMER, ROLES

_USERNAME = re.compile(r"[a-z0-9._-]{3,32}")
_OLDEST = 150


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account about to be made; every field already normalised, the password still in the clear."""

    username: str
    email: str
    phone: str
    password: str = field(repr=False)
    full_name: str
    birthday: date


@dataclass(frozen=True, slots=True)
class User:
    """What a login needs to know of an account."""

    id: UUID
    password_hash: str = field(repr=False)
    is_active: bool
    is_first_login: bool
    roles: list[str]

    @property
    def awaits_first_login(self) -> bool:
        """Whether the next login counts as the first: it has not happened, and staff are no customers.

        As far as is known here: `UserStore.mark_first_login` decides by the same rule.
        """
        return self.is_first_login and self.is_active and CUSTOMER in self.roles


def normalise_username(text: str) -> str:
    """Give the one form of a username: NFKC, case-folded; 3–32 of a–z, 0–9, `.`, `_`, `-`. Raises ValueError."""
    username = unicodedata.normalize("NFKC", text).casefold()
    if not _USERNAME.fullmatch(username):
        raise ValueError("use 3 to 32 of the letters a-z, digits, dot, underscore and hyphen")
    return username


def normalise_email(text: str) -> str:
    """Give the one form of an e-mail address: valid in syntax (RFC 5321, 6531), lower case. Raises ValueError."""
    try:
        return email_validator.validate_email(text, check_deliverability=False).normalized.lower()
    except email_validator.EmailNotValidError:
        raise ValueError("this is not a valid e-mail address") from None  # the library's message echoes it


def normalise_phone(text: str) -> str:
    """Give the one form of a phone number: E.164, such as +84912345678. Raises ValueError."""
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise ValueError("give a valid number in international form, such as +84 912 345 678")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalise_password(text: str) -> str:
    """Give the one form of a password, so that every keyboard's `é` is the same (RFC 8265: NFC)."""
    return unicodedata.normalize("NFC", text)


def normalise_full_name(text: str) -> str:
    """Give a name without surplus white space. Raises ValueError if nothing or a control character is left."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise ValueError("give a name, without control characters")
    return name


def parse_birthday(text: str) -> date:
    """Read an ISO 8601 date, or the date of an ISO 8601 datetime as written. Raises ValueError."""
    for parse in (date.fromisoformat, lambda text: datetime.fromisoformat(text).date()):
        try:
            return parse(text)
        except ValueError:
            continue
    raise ValueError("give an ISO 8601 date, such as 1990-12-31")


def check_birthday(birthday: date, today: date) -> date:
    """Give the birthday back if a living person may have it. Raises ValueError."""
    if not 0 <= today.year - birthday.year <= _OLDEST or birthday > today:
        raise ValueError("this is no birthday of a living person")
    return birthday


def login_key(text: str) -> tuple[Literal["username", "email", "phone"], str] | None:
    """Tell which unique field somebody logs in by, and its normalised value; None if it can be nobody's.

    No username holds an `@` or a `+`, so the three never overlap.
    """
    try:
        if "@" in text:
            return "email", normalise_email(text)
        if text.lstrip().startswith("+"):
            return "phone", normalise_phone(text)
        return "username", normalise_username(text)
    except ValueError:
        return None


def with_role(roles: Sequence[str], role: str) -> list[str]:
    """Give the roles with one more. Raises ValueError if there is no such role."""
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}; there are {', '.join(ROLES)}")
    return [*roles, *([] if role in roles else [role])]


def without_role(roles: Sequence[str], role: str) -> list[str]:
    """Give the roles without one. Raises ValueError if there is no such role."""
    return [one for one in with_role(roles, role) if one != role]
