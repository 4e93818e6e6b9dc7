"""What was seen in a run: every call as its client saw it, what an observer read, and how it ended. Data only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from earlybird.events import FirstLogin


class Outcome(StrEnum):
    """What a client knows of its call."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # no answer, or one that says "not now": it may have been done, or may be yet


@dataclass(frozen=True, slots=True)
class Call:
    """One call; times are seconds on the one clock of all clients."""

    what: str  # register, login, voucher, redeem, withdraw
    who: str
    started: float
    ended: float
    outcome: Outcome
    detail: str = ""  # of a refusal its code, of a redemption its id, of a withdrawal whose voucher it was


@dataclass(frozen=True, slots=True)
class Observation:
    """What the databases said, as of one moment."""

    at: float
    ledger: tuple[UUID, ...]  # in order, after `base`
    winners: tuple[UUID, ...]  # in order of position
    cursor: int
    withdrawn: int = 0  # of the winners' vouchers


@dataclass(slots=True)
class History:
    """All that was seen during a run."""

    calls: list[Call] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    fault_ended: float = 0.0

    def first_logins(self) -> dict[str, tuple[float, float]]:
        """Give when each person's first login may have happened: from the first attempt to the first answer."""
        spans: dict[str, tuple[float, float]] = {}
        for call in self.calls:
            if call.what == "login":
                started, ended = spans.get(call.who, (call.started, float("inf")))
                if call.outcome is Outcome.OK:
                    ended = min(ended, call.ended)
                spans[call.who] = (min(started, call.started), ended)
        return spans

    def done(self, what: str) -> list[Call]:
        """Give the calls of a kind that were acknowledged."""
        return [call for call in self.calls if call.what == what and call.outcome is Outcome.OK]

    def count(self, what: str, outcome: Outcome) -> int:
        return sum(call.what == what and call.outcome is outcome for call in self.calls)


@dataclass(frozen=True, slots=True)
class User:
    """An account as stored."""

    id: UUID
    first_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Redemption:
    """A redemption as stored."""

    id: UUID
    user_id: UUID
    state: str


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A voucher that was withdrawn, as stored."""

    position: int
    user_id: UUID
    is_usable: bool  # available, or held
    is_replaced: bool


@dataclass(frozen=True, slots=True)
class FinalState:
    """What is stored when everything has come to rest; ledger and streams from number `base` + 1 on."""

    base: int  # how many first logins there were before the run
    number: int  # N
    opened_with: int  # N at first
    starts_at: datetime
    ends_at: datetime | None
    users: Mapping[str, User]
    ledger: Sequence[FirstLogin]
    positions: Sequence[tuple[int, UUID]]  # of the vouchers, by position
    remaining: int
    cursor: int
    redemptions: Sequence[Redemption]
    replicas: Mapping[str, Sequence[bytes]]  # the stream as each NATS server has it
    told: Sequence[str]  # ids of the voucher events, in the order of their stream
    withdrawn: Sequence[Withdrawal] = ()
