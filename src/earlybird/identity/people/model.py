"""What support sees of a person. Pure: no I/O, no clock. Contacts are masked; no secret is here at all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from earlybird.access.permissions import CUSTOMER

# What the audit log says of an account, in plain words.
_CHANGES: Mapping[str, str] = {
    "role.granted": "Got other roles",
    "role.revoked": "Lost a role",
    "account.disabled": "Disabled: nobody can log in to the account or spend with it",
    "account.enabled": "Enabled again",
    "account.locked": "Locked after too many wrong passwords: only a known device gets in",
    "account.unlocked": "Unlocked",
    "account.erased": "Erased: the person asked for it; number and vouchers stay, without a name",
    "account.lost": "Lost with the database; number and vouchers were brought back, without the person",
    "password.changed": "Changed the password; all other sessions ended",
    "message.given_up": "A message to this person could not be sent, and was given up",
}


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened. `actor` is a user id, `cli:<name>` or a worker; None: the person."""

    at: datetime
    what: str  # for programs, such as `account.registered`
    text: str  # for people
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """An account, as support sees it."""

    id: UUID
    username: str | None  # None: erased
    email: str | None  # masked
    phone: str | None  # masked
    roles: tuple[str, ...]
    is_active: bool
    is_locked: bool
    is_verified: bool  # False: waits for a code, and cannot log in
    registered_at: datetime
    first_login_at: datetime | None
    number: int | None  # among all first logins; None: none yet

    @property
    def is_erased(self) -> bool:
        """Whether the person was taken out of the account."""
        return self.username is None

    @property
    def why_no_number(self) -> str | None:
        """Why there is no first login with a number, in plain words; None: there is one."""
        if self.number is not None:
            return None
        if self.first_login_at is not None:
            return (
                "Has just logged in for the first time; the number follows in a moment. If not, look at the relay."
            )
        if not self.is_verified:
            return "Has not confirmed the contacts yet, and so cannot log in."
        if CUSTOMER not in self.roles:
            return "Is staff without the role customer: no login of theirs takes a place."
        if not self.is_active:
            return "The account was disabled before anybody logged in to it."
        return "Has never logged in."


def mask_email(address: str) -> str:
    """Leave the first letter and the domain: enough to compare with what a caller says, too little to write to."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def mask_phone(number: str) -> str:
    """Leave the last three digits."""
    return f"•••{number[-3:]}"


def person_of(user: Mapping[str, Any], number: int | None, *, is_verified: bool = True) -> Person:
    """Read a document of `users`, or of those that wait for a code."""
    is_erased = "erased_at" in user
    return Person(
        id=user["_id"],
        username=None if is_erased else user["username"],
        email=None if is_erased else mask_email(user["email"]),
        phone=None if is_erased else mask_phone(user["phone"]),
        roles=tuple(user["roles"]),
        is_active=user["is_active"] == 1,
        is_locked=bool(user.get("is_locked")),
        is_verified=is_verified,
        registered_at=user["created_at"],
        first_login_at=user.get("first_login_at"),
        number=number,
    )


def timeline(
    person: Person, verified_at: datetime | None, changes: Iterable[Mapping[str, Any]]
) -> Sequence[TimelineEntry]:
    """Return what happened to an account, in order; `changes` are entries of the audit log about it."""
    found = [TimelineEntry(person.registered_at, "account.registered", "Registered")]
    if verified_at is not None:
        found.append(TimelineEntry(verified_at, "contact.verified", "Confirmed the contacts"))
    if person.first_login_at is not None:
        number = "its number is not known yet" if person.number is None else f"number {person.number} of all"
        found.append(
            TimelineEntry(person.first_login_at, "login.first", f"Logged in for the first time: {number}")
        )
    found += [
        TimelineEntry(entry["at"], entry["action"], _text(entry), entry["actor"])
        for entry in changes
        if entry["action"] in _CHANGES
    ]
    return sorted(found, key=lambda entry: entry.at)


def _text(entry: Mapping[str, Any]) -> str:
    text = _CHANGES[entry["action"]]
    roles = (entry.get("after") or {}).get("roles")
    return text if roles is None else f"{text}: now {', '.join(roles) or 'none'}"
