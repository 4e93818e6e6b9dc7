"""What a campaign has come to, and what happened to one person's vouchers. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.redemptions.model import RESERVATION_MINUTES, Redemption, RedemptionState
from earlybird.times import iso_utc


@dataclass(frozen=True, slots=True)
class Figures:
    """What has become of a campaign's vouchers. Amounts are in minor units."""

    granted: int
    remaining: int
    withdrawn: int
    held: int
    redeemed: int
    refunded: int
    given: Mapping[str, int]  # discount given so far, by currency
    in_line: int  # people who come next if there are more vouchers, as far as is known

    @property
    def usable(self) -> int:
        """Vouchers that can still cost something: granted and not spent, or not yet granted."""
        return self.granted + self.remaining - self.withdrawn - self.redeemed


def most_discount(campaign: Campaign, vouchers: int) -> int | None:
    """Return the most that so many vouchers can take off purchases; None: there is no bound.

    A percentage of an amount that nobody has bounded has no bound: give the campaign `max_discount_amount`.
    """
    return None if campaign.max_discount_amount is None else campaign.max_discount_amount * vouchers


@dataclass(frozen=True, slots=True)
class HolderEntry:
    """Something that happened to a person's voucher. Amounts are in minor units."""

    at: datetime
    what: str  # for programs, such as `voucher.granted`
    text: str  # for people
    campaign_id: UUID
    order_id: str | None = None
    amount: int | None = None
    discount_amount: int | None = None
    currency: str | None = None


def entries_of_voucher(voucher: Mapping[str, Any], campaign: Campaign, now: datetime) -> Iterable[HolderEntry]:
    """Yield what happened to a voucher itself: a document of `vouchers`."""
    of = f"voucher {voucher['position']} of “{campaign.name}”, {voucher['discount']} % off"
    added_at = campaign.added_at(voucher["position"])
    why = "" if added_at is None else f": there were more vouchers from {iso_utc(added_at)} on, and this was next"
    yield HolderEntry(voucher["created_at"], "voucher.granted", f"Got {of}{why}", campaign.id)
    withdrawn_at = voucher.get("withdrawn_at")
    if withdrawn_at is not None:
        by, reason = voucher["withdrawn_by"], voucher["withdrawn_reason"]
        text = f"Voucher taken back, with what held it, by {by}: {reason}"
        yield HolderEntry(withdrawn_at, "voucher.withdrawn", text, campaign.id)
    elif voucher["expire_at"] <= now and voucher["is_available"]:
        yield HolderEntry(voucher["expire_at"], "voucher.expired", "Voucher expired unused", campaign.id)


def entries_of_redemption(redemption: Redemption, now: datetime) -> Iterable[HolderEntry]:
    """Yield what happened to an attempt to spend a voucher."""

    def entry(at: datetime, what: str, text: str) -> HolderEntry:
        terms = redemption.order_id, redemption.amount, redemption.discount_amount, redemption.currency
        return HolderEntry(at, what, f"{text} {redemption.order_id}", redemption.campaign_id, *terms)

    until = redemption.reserved_until
    if until is not None:
        began = until - timedelta(minutes=RESERVATION_MINUTES)
        yield entry(began, "redemption.reserved", "Voucher held for order")
    if redemption.redeemed_at is not None:
        yield entry(redemption.redeemed_at, "redemption.redeemed", "Voucher spent on order")
    if redemption.released_at is not None:
        yield entry(redemption.released_at, "redemption.released", "Voucher given back by order")
    if redemption.refunded_at is not None:
        back = "usable again" if redemption.voucher_returned else "expired by then, and not usable again"
        yield entry(redemption.refunded_at, "redemption.refunded", f"Refunded, the voucher {back}: order")
    if until is not None and redemption.state_at(now) is RedemptionState.LAPSED:
        yield entry(until, "redemption.lapsed", "The hold ended by itself after 15 minutes: order")
