"""Who gets a voucher: a pure function of campaign and first logins. No I/O, no clock."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import uuid5

from earlybird.events import FirstLogin
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.vouchers.model import Voucher


class Gap(Exception):
    """The stream did not go on with the number after the cursor: never skip, stop and read again."""


def award(campaign: Campaign, remaining: int, events: Iterable[FirstLogin]) -> list[Voucher]:
    """Return the vouchers that these first logins earn, in order, while any remain.

    `remaining` is how many of the campaign's positions are left before the first of these events, which must be in
    ledger order. Everything in a voucher follows from its arguments, so anyone can compute it again.
    """
    position = campaign.capacity - remaining
    vouchers: list[Voucher] = []
    for event in events:
        if position >= campaign.capacity:
            break
        if campaign.counts(event):
            position += 1
            vouchers.append(_voucher(campaign, position, event))
    return vouchers


def _voucher(campaign: Campaign, position: int, event: FirstLogin) -> Voucher:
    # A customer who was next in line when positions were added has the whole of `voucher_days` from then on.
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
    """Return the events that come after the cursor, without those already processed.

    Raises Gap unless they go on with cursor + 1, cursor + 2, … without a hole.
    """
    fresh = [event for event in events if event.n > cursor]
    for expected, event in enumerate(fresh, start=cursor + 1):
        if event.n != expected:
            raise Gap(f"after {expected - 1} came {event.n}")
    return fresh
