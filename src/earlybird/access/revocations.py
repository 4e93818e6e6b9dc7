"""Revocations: which sessions, people's older sessions and keys have ended before their tokens expire. No I/O.

Each is one entry, a key and a value. Entries may come in any order and more than once: the view is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from earlybird.access.permissions import Caller
from earlybird.errors import InvalidToken

Entry = tuple[str, bytes]


def ended_session(session_id: str) -> Entry:
    """Return the entry that ends one session."""
    return f"session.{session_id}", b""


def ended_sessions(user_id: UUID, epoch: int, but: str = "") -> Entry:
    """Return the entry that ends all sessions of a person that began before this epoch, but for one."""
    return f"user.{user_id}.{epoch}", but.encode()


def ended_key(kid: str) -> Entry:
    """Return the entry that ends whatever a key has signed."""
    return f"key.{kid}", b""


@dataclass(slots=True)
class Revocations:
    """What has ended, as far as this process knows."""

    sessions: set[str] = field(default_factory=set)
    epochs: dict[UUID, tuple[int, str]] = field(default_factory=dict)  # older epochs ended, but for one session
    keys: set[str] = field(default_factory=set)

    def take(self, key: str, value: bytes) -> None:
        """Note one entry. Raises ValueError for one that is none of ours."""
        kind, _, name = key.partition(".")
        match kind:
            case "session":
                self.sessions.add(name)
            case "user":
                user_id, _, epoch = name.partition(".")
                entry = int(epoch), value.decode()
                self.epochs[UUID(user_id)] = max(entry, self.epochs.get(UUID(user_id), entry))
            case "key":
                self.keys.add(name)
            case _:
                raise ValueError("no such kind of revocation")

    def entries(self) -> Iterator[Entry]:
        """Return an entry for each thing that has ended."""
        yield from map(ended_session, self.sessions)
        yield from (ended_sessions(user_id, *ended) for user_id, ended in self.epochs.items())
        yield from map(ended_key, self.keys)

    def epoch(self, user_id: UUID) -> int:
        """Return the least epoch that a new session of this person has."""
        return self.epochs.get(user_id, (0, ""))[0]

    def has_ended(self, user_id: UUID, session_id: str, epoch: int) -> bool:
        """Tell whether a session has ended."""
        ended_epoch, but = self.epochs.get(user_id, (0, ""))
        return session_id in self.sessions or (epoch < ended_epoch and session_id != but)

    def check(self, caller: Caller) -> None:
        """Raise InvalidToken if the caller's session, or the key that signed the token, has ended."""
        if caller.key_id in self.keys or self.has_ended(caller.user_id, caller.session_id, caller.epoch):
            raise InvalidToken("This session has ended: log in again.", "ended")
