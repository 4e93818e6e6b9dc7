"""What a campaign and a voucher are, and who gets one. Pure: no I/O, no clock."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from earlybird.events import FirstLogin


class Gap(Exception):
    """The stream did not go on with the number after the cursor: never skip, stop and read again."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """The terms under which first logins are rewarded."""

    id: UUID
    name: str
    discount: int  # percent
    number_of_promotion: int  # N
    description: str
    voucher_days: int
    first_n: int  # the first ledger number that can count: those before it were judged already
    starts_at: datetime
    ends_at: datetime | None  # excluded; None: open end

    def counts(self, event: FirstLogin) -> bool:
        """Tell whether a first login falls into the campaign: by its own time, not by when it is processed."""
        started = event.n >= self.first_n and self.starts_at <= event.first_login_at
        return started and (self.ends_at is None or event.first_login_at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Voucher:
    """The reward of one customer in one campaign."""

    id: UUID
    user_id: UUID
    campaign_id: UUID
    position: int  # 1 … N
    description: str
    discount: int  # percent
    expire_at: datetime

    def to_json(self) -> bytes:
        """Give the voucher as clients see it: exactly description, discount and expire_at (ISO 8601 UTC)."""
        expire_at = self.expire_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        shown = {"description": self.description, "discount": self.discount, "expire_at": expire_at}
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


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
    return Voucher(
        id=uuid5(campaign.id, str(event.user_id)),
        user_id=event.user_id,
        campaign_id=campaign.id,
        position=position,
        description=campaign.description,
        discount=campaign.discount,
        expire_at=event.first_login_at + timedelta(days=campaign.voucher_days),
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
