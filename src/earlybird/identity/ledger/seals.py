"""Seals: each entry of the ledger is sealed together with all before it. Pure: no I/O, no clock.

docs/seals.md has the format, exact enough for another implementation (examples/verify_seals.py is one). An entry
is public as its number, its time and a commitment, which hides whose it is and which its owner can open.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from earlybird.events import FirstLogin

SEAL_BYTES = 32
FIRST_SEAL = bytes(SEAL_BYTES)  # what comes before entry 1
_CANONICAL = struct.Struct(">Q32sQ")  # number, commitment, time: big-endian
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PublicEntry:
    """An entry of the ledger without the person."""

    n: int
    commitment: bytes
    at_ms: int  # milliseconds since 1970, UTC


def opening(secret: bytes, user_id: UUID) -> bytes:
    """Return what opens a person's commitment: 32 bytes that nobody guesses who has not the ledger's secret."""
    return hmac.digest(secret, user_id.bytes, "sha256")


def commitment(opening: bytes, user_id: UUID) -> bytes:
    """Return SHA-256 over the opening and the user's id (16 bytes, RFC 9562)."""
    return hashlib.sha256(opening + user_id.bytes).digest()


def public_entry(secret: bytes, entry: FirstLogin) -> PublicEntry:
    """Return what everybody may know of an entry."""
    at_ms = (entry.first_login_at - _EPOCH) // _MILLISECOND
    return PublicEntry(entry.n, commitment(opening(secret, entry.user_id), entry.user_id), at_ms)


def next_seal(before: bytes, entry: PublicEntry) -> bytes:
    """Return SHA-256 over the seal before, and the entry's number, commitment and time (8 + 32 + 8 bytes)."""
    return hashlib.sha256(before + _CANONICAL.pack(entry.n, entry.commitment, entry.at_ms)).digest()


def seal_each(secret: bytes, before: bytes, entries: Iterable[FirstLogin]) -> Iterator[bytes]:
    """Return the seals of entries that follow one another; `before` is the seal before the first of them."""
    for entry in entries:
        before = next_seal(before, public_entry(secret, entry))
        yield before
