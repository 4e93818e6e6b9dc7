"""Verifies a published list, and receipts against it, with no database and no network but the public key."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from earlybird.errors import Failure
from earlybird.identity.ledger.receipts import ALGORITHM, RECEIPT_TYPE, SEAL_TYPE
from earlybird.identity.ledger.seals import PublicEntry, commitment, next_seal
from earlybird.operations.audit.findings import Difference
from earlybird.operations.published.list_file import EPOCH, Head, read_entries, read_head


@dataclass(frozen=True, slots=True)
class Signed:
    """A receipt, or an earlier seal, whose signature is good."""

    claims: dict[str, Any]
    is_receipt: bool

    @property
    def n(self) -> int:
        """The number of the entry."""
        return int(self.claims["n"])


@dataclass(frozen=True, slots=True)
class Checked:
    """What a receipt or seal came to."""

    signed: Signed
    place: int | None  # None: the campaign did not count this first login
    has_won: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A list that holds."""

    head: Head
    counted: int
    key: str  # thumbprint (RFC 7638)
    checked: Sequence[Checked]


def verify(path: Path, signed: Sequence[str] = (), keys: Sequence[dict[str, Any]] = ()) -> Verified:
    """Recompute the chain and the winners, and check receipts and earlier seals against them.

    `keys` are the public keys (JWK) that are known from elsewhere: several, if the key was replaced. Without, that
    of the file is believed. Raises Difference, which names the first one; Failure for what is no such file.
    """
    head = read_head(path)
    public = [_imported(key) for key in keys or [head.key]]
    last = check_signature(head.seal, public)
    kept = sorted((check_signature(one, public) for one in signed), key=lambda one: one.n)
    _check_within(head, kept)
    winners: list[tuple[int, int]] = []
    checked: list[Checked] = []
    n, seal, places = head.campaign.first_n - 1, bytes.fromhex(head.seal_before), 0
    counted_from, counted_until = head.campaign.window_ms()
    for entry in read_entries(path):
        n += 1
        if entry.n != n:
            raise Difference(f"entry {n}: the file has {entry.n} in its place")
        seal = next_seal(seal, entry)
        is_counted = counted_from <= entry.at_ms < counted_until
        places += is_counted
        has_won = is_counted and places <= head.capacity
        if has_won:
            winners.append((places, n))
        while kept and kept[0].n == n:
            _check_entry(kept[0], seal, entry)
            checked.append(Checked(kept.pop(0), places if is_counted else None, has_won))
    if (n, seal.hex()) != (last.n, last.claims["seal"]) or n != head.last_n:
        raise Difference(f"entry {n}: the chain ends otherwise than its signed seal says (entry {last.n})")
    _check_winners(head, winners)
    return Verified(head, places, public[0].thumbprint(), checked)


def check_signature(text: str, keys: Sequence[OKPKey]) -> Signed:
    """Read a receipt or a seal that one of these keys has signed. Raises Difference."""
    try:
        named = str(jws.extract_compact(text.strip().encode()).headers().get("kid"))
        key = next((one for one in keys if one.thumbprint() == named), keys[0])
        found = jws.deserialize_compact(text.strip(), key, [ALGORITHM])
        claims = json.loads(found.payload)
        kind = found.headers().get("typ")
        int(claims["n"]), bytes.fromhex(claims["seal"])
    except (JoseError, ValueError, KeyError, TypeError):
        raise Difference("a signature is not of this key, or what it signs is no receipt and no seal") from None
    if kind not in {RECEIPT_TYPE, SEAL_TYPE}:
        raise Difference(f"what is signed is neither a receipt nor a seal: {kind}")
    return Signed(claims, kind == RECEIPT_TYPE)


def _check_within(head: Head, kept: Sequence[Signed]) -> None:
    for one in kept:
        if not head.campaign.first_n <= one.n <= head.last_n:
            raise Failure(
                f"entry {one.n} is not in this list, which has {head.campaign.first_n} to {head.last_n}: "
                "it was before the campaign, or is newer than the list"
            )


def _check_entry(kept: Signed, seal: bytes, entry: PublicEntry) -> None:
    what = "receipt" if kept.is_receipt else "earlier seal"
    if kept.is_receipt:
        try:
            opened = bytes.fromhex(kept.claims["opening"])
            expected, at = commitment(opened, UUID(kept.claims["sub"])), datetime.fromisoformat(kept.claims["at"])
        except (KeyError, ValueError, TypeError):
            raise Difference(f"entry {kept.n}: the receipt lacks what opens it") from None
        if expected != entry.commitment:
            raise Difference(f"entry {kept.n}: the list has somebody else there than the receipt")
        listed = EPOCH + timedelta(milliseconds=entry.at_ms)
        if at != listed:
            raise Difference(f"entry {kept.n}: the list dates it {listed}, the receipt {at}")
    if kept.claims["seal"] != seal.hex():
        raise Difference(f"entry {kept.n}: something before it is not what it was when the {what} was signed")


def _check_winners(head: Head, winners: Sequence[tuple[int, int]]) -> None:
    for expected, found in zip(winners, head.winners, strict=False):
        if expected != found:
            raise Difference(f"position {expected[0]}: entry {expected[1]} won, the list names entry {found[1]}")
    if len(winners) != len(head.winners):
        raise Difference(f"{len(winners)} first logins won, the list names {len(head.winners)}")
    for withdrawal in head.withdrawals:
        if withdrawal.position > len(winners):
            raise Difference(f"position {withdrawal.position} was withdrawn, and nobody held it")


def _imported(key: dict[str, Any]) -> OKPKey:
    try:
        return OKPKey.import_key(key)
    except (JoseError, ValueError, KeyError, TypeError):
        raise Failure("the key is no Ed25519 public key (JWK)") from None
