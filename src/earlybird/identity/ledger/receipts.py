"""Receipts: what people keep of their first login, and what everybody may keep of the ledger, signed with Ed25519.

Both are JWS (RFC 7515) over JSON. docs/seals.md says what is in them, and how they are checked.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from joserfc import jws
from joserfc.jwk import OKPKey

from earlybird.identity.ledger.seals import opening
from earlybird.identity.ledger.store import Ledger
from earlybird.times import iso_utc

ALGORITHM = "Ed25519"  # RFC 9864
RECEIPT_TYPE, SEAL_TYPE = "earlybird-receipt+jws", "earlybird-seal+jws"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A person's first login: number, time, and the signed receipt."""

    n: int
    first_login_at: datetime
    seal: str  # hexadecimal
    jws: str


@dataclass(frozen=True, slots=True)
class SignedSeal:
    """The newest entry's number and seal, signed."""

    n: int
    seal: str  # hexadecimal
    jws: str


class Receipts:
    """Signs what the ledger says. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, ledger: Ledger, key: OKPKey, issuer: str) -> None:
        self._ledger = ledger
        self._key = key
        self._issuer = issuer

    @property
    def public_key(self) -> dict[str, Any]:
        """The key that verifies receipts and seals (JWK, RFC 8037)."""
        return dict(self._key.as_dict(private=False))

    async def find(self, user_id: UUID) -> Receipt | None:
        """Return the receipt of a person; None if the ledger has no sealed entry of theirs (yet)."""
        found = await self._ledger.find_sealed(user_id)
        if found is None:
            return None
        entry, seal = found
        opened = opening(await self._ledger.secret(), user_id)
        claims = {
            "iss": self._issuer,
            "n": entry.n,
            "at": iso_utc(entry.first_login_at),
            "seal": seal.hex(),
            "sub": str(user_id),
            "opening": opened.hex(),
        }
        return Receipt(entry.n, entry.first_login_at, seal.hex(), signed(self._key, RECEIPT_TYPE, claims))

    async def latest(self) -> SignedSeal:
        """Return the newest number and seal; 0 and zeros while nobody has logged in."""
        n, seal = await self._ledger.latest_seal()
        claims = {"iss": self._issuer, "n": n, "seal": seal.hex()}
        return SignedSeal(n, seal.hex(), signed(self._key, SEAL_TYPE, claims))


def signed(key: OKPKey, kind: str, claims: dict[str, Any]) -> str:
    """Return a JWS of this type (compact serialization)."""
    header = {"alg": ALGORITHM, "typ": kind, "kid": key.thumbprint()}
    return jws.serialize_compact(header, json.dumps(claims, separators=(",", ":")).encode(), key, [ALGORITHM])
