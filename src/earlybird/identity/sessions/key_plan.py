"""The plan of the signing keys: which signs when, and until when each verifies. Pure: no I/O, no clock.

A key is published before it signs, and until the last token that it signed has expired. The plan has times only.
So every process decides alike from its own clock, and a rotation is one write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

TOKEN_TTL_SECONDS = 1800  # the contract: a token lives 30 minutes. Not a setting
CLOCKS_SECONDS = 60  # by which the clocks of two machines may differ


@dataclass(frozen=True, slots=True)
class PlannedKey:
    """One key of the plan. Times in Unix seconds."""

    kid: str  # RFC 7638 thumbprint
    signs_from: float
    verifies_until: float | None  # None: until a later key follows

    def state(self, now: float, plan: Sequence["PlannedKey"]) -> str:
        """Return `next`, `signing`, `verifying` or `expired`."""
        if self not in verifying(plan, now):
            return "expired"
        if self.signs_from > now:
            return "next"
        return "signing" if signing(plan, now) is self else "verifying"


def verifying(plan: Sequence[PlannedKey], now: float) -> list[PlannedKey]:
    """Return the keys that verify tokens now or will soon: those that have not expired."""
    return [key for key in plan if key.verifies_until is None or key.verifies_until > now]


def signing(plan: Sequence[PlannedKey], now: float) -> PlannedKey | None:
    """Return the key that signs now: of those that have begun and still verify, the one that began last."""
    begun = [key for key in verifying(plan, now) if key.signs_from <= now]
    return max(begun, key=lambda key: key.signs_from, default=None)


def rotated(plan: Sequence[PlannedKey], kid: str, signs_from: float) -> list[PlannedKey]:
    """Return the plan with one more key, after which no older key signs."""
    until = signs_from + TOKEN_TTL_SECONDS + CLOCKS_SECONDS
    older = [key if key.verifies_until is not None else replace(key, verifies_until=until) for key in plan]
    return [*older, PlannedKey(kid, signs_from, None)]


def retired(plan: Sequence[PlannedKey], kid: str) -> list[PlannedKey]:
    """Return the plan without a key. If all others were to expire, the newest of them goes on signing."""
    rest = sorted((key for key in plan if key.kid != kid), key=lambda key: key.signs_from)
    if rest and all(key.verifies_until is not None for key in rest):
        rest[-1] = replace(rest[-1], verifies_until=None)
    return rest
