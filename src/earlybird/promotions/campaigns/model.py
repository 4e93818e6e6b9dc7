"""What a campaign and a voucher are, and who gets one. Pure: no I/O, no clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from earlybird.events import FirstLogin


class CampaignState(StrEnum):
    """Where a campaign stands; it follows from its window and the time, so nobody has to be present."""

    DRAFT = "draft"  # made, but not to start by itself
    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Raise:
    """Positions above `above` were added at `at`: N was raised, or one withdrawn voucher is replaced."""

    above: int
    at: datetime
    replaces: int | None = None  # the position of the withdrawn voucher; None: N was raised


@dataclass(frozen=True, slots=True)
class Campaign:
    """The terms under which first logins are rewarded. Amounts are in minor units of `currency`."""

    id: UUID
    name: str
    discount: int  # percent
    number_of_promotion: int  # N
    description: str
    voucher_days: int
    first_n: int | None  # the first ledger number that can count: those before it were judged already
    starts_at: datetime | None  # None, like `first_n`: a draft
    ends_at: datetime | None  # excluded; None: open end
    currency: str | None = None  # ISO 4217; None: any
    min_amount: int | None = None  # of a purchase
    max_discount_amount: int | None = None
    raises: tuple[Raise, ...] = ()  # oldest first

    def counts(self, event: FirstLogin) -> bool:
        """Tell whether a first login falls into the campaign: by its own time, not by when it is processed."""
        if self.first_n is None or self.starts_at is None:
            return False
        started = event.n >= self.first_n and self.starts_at <= event.first_login_at
        return started and (self.ends_at is None or event.first_login_at < self.ends_at)

    def state(self, now: datetime) -> CampaignState:
        """Tell where the campaign stands."""
        if self.first_n is None or self.starts_at is None:
            return CampaignState.DRAFT
        if self.ends_at is not None and self.ends_at <= max(now, self.starts_at):
            return CampaignState.CLOSED
        return CampaignState.SCHEDULED if now < self.starts_at else CampaignState.OPEN

    @property
    def replacements(self) -> int:
        """How many withdrawn vouchers are replaced."""
        return sum(step.replaces is not None for step in self.raises)

    @property
    def capacity(self) -> int:
        """How many positions there are: N, and one more for each replacement. None is ever used twice."""
        return self.number_of_promotion + self.replacements

    def replaces(self, position: int) -> bool:
        """Tell whether the voucher at this position was withdrawn and replaced."""
        return any(step.replaces == position for step in self.raises)

    def added_at(self, position: int) -> datetime | None:
        """Tell when positions were added so that there was this one; None if there was from the start."""
        return max((step.at for step in self.raises if step.above < position), default=None)
