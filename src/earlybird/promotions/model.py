"""What a campaign and a voucher are, and who gets one. Pure: no I/O, no clock."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from earlybird.events import FirstLogin


class Gap(Exception):
    """The stream did not go on with the number after the cursor: never skip, stop and read again."""


class CampaignState(StrEnum):
    """Where a campaign stands; it follows from its window and the time, so nobody has to be present."""

    DRAFT = "draft"  # made, but not to start by itself
    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Raise:
    """N was raised: positions above `above` were added at `at`."""

    above: int
    at: datetime


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

    def added_at(self, position: int) -> datetime | None:
        """Tell when N was raised so far that there was this position; None if there was from the start."""
        return max((step.at for step in self.raises if step.above < position), default=None)


class VoucherState(StrEnum):
    """What its owner can do with a voucher."""

    AVAILABLE = "available"
    RESERVED = "reserved"  # held while a payment runs
    REDEEMED = "redeemed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Voucher:
    """The reward of one customer in one campaign. All of it follows from the campaign and the first login."""

    id: UUID
    user_id: UUID
    campaign_id: UUID
    position: int  # 1 … N
    first_login_n: int  # the ledger number that earned it
    description: str
    discount: int  # percent
    expire_at: datetime
    currency: str | None = None
    min_amount: int | None = None
    max_discount_amount: int | None = None

    def to_json(self) -> bytes:
        """Give the voucher as clients see it: exactly description, discount and expire_at (ISO 8601 UTC)."""
        shown = {
            "description": self.description,
            "discount": self.discount,
            "expire_at": iso_utc(self.expire_at),
        }
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class HeldVoucher:
    """A voucher together with what has become of it."""

    voucher: Voucher
    is_available: bool  # not spent
    held_until: datetime | None = None  # by a reservation, which lapses by itself

    def state(self, now: datetime) -> VoucherState:
        """Tell what can be done with it."""
        return voucher_state(self.voucher.expire_at, self.held_until, now, is_available=self.is_available)


def voucher_state(
    expire_at: datetime, held_until: datetime | None, now: datetime, *, is_available: bool
) -> VoucherState:
    """Tell what can be done with a voucher. A hold outlives its expiry: a payment is running."""
    if not is_available:
        return VoucherState.REDEEMED
    if held_until is not None and now < held_until:
        return VoucherState.RESERVED
    return VoucherState.AVAILABLE if now < expire_at else VoucherState.EXPIRED


def iso_utc(moment: datetime) -> str:
    """Write a time as clients see it: ISO 8601, UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def award(campaign: Campaign, remaining: int, events: Iterable[FirstLogin]) -> list[Voucher]:
    """Give the vouchers that these first logins earn, in order, while any remain.

    `remaining` is how many of the campaign's N are left before the first of these events, which must be in
    ledger order. Everything in a voucher follows from its arguments, so anyone can compute it again.
    """
    position = campaign.number_of_promotion - remaining
    vouchers: list[Voucher] = []
    for event in events:
        if position >= campaign.number_of_promotion:
            break
        if campaign.counts(event):
            position += 1
            vouchers.append(_voucher(campaign, position, event))
    return vouchers


def _voucher(campaign: Campaign, position: int, event: FirstLogin) -> Voucher:
    # Who was next in line when N was raised gets the whole of `voucher_days` from then on.
    earned_at = max(event.first_login_at, campaign.added_at(position) or event.first_login_at)
    return Voucher(
        id=uuid5(campaign.id, str(event.user_id)),
        user_id=event.user_id,
        campaign_id=campaign.id,
        position=position,
        first_login_n=event.n,
        description=campaign.description,
        discount=campaign.discount,
        expire_at=earned_at + timedelta(days=campaign.voucher_days),
        currency=campaign.currency,
        min_amount=campaign.min_amount,
        max_discount_amount=campaign.max_discount_amount,
    )


def next_in_order(cursor: int, events: Sequence[FirstLogin]) -> list[FirstLogin]:
    """Give the events that come after the cursor, without those already processed.

    Raises Gap unless they go on with cursor + 1, cursor + 2, … without a hole.
    """
    fresh = [event for event in events if event.n > cursor]
    for expected, event in enumerate(fresh, start=cursor + 1):
        if event.n != expected:
            raise Gap(f"after {expected - 1} came {event.n}")
    return fresh
