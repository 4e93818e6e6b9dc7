"""How a voucher is spent: what it takes off, and what may follow what. Pure: no I/O, no clock.

A redemption is one attempt to spend a voucher on one order. It begins reserved, while the payment runs, or
redeemed at once; a reservation is confirmed, released, or lapses by itself; what was redeemed may be refunded.
Amounts are whole minor units (ISO 4217): cents of a euro, whole dong, thousandths of a Kuwaiti dinar.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher, VoucherState

RESERVATION_MINUTES = 15


class RedemptionState(StrEnum):
    """What became of an attempt, as it is stored; that a reservation has lapsed follows from the time."""

    RESERVED = "reserved"
    REDEEMED = "redeemed"
    RELEASED = "released"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Order:
    """What the customer is about to buy."""

    order_id: str
    amount: int  # minor units
    currency: str  # ISO 4217


@dataclass(frozen=True, slots=True)
class Redemption:
    """One attempt to spend one voucher on one order."""

    id: UUID
    voucher_id: UUID
    campaign_id: UUID
    user_id: UUID
    order_id: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str
    state: RedemptionState
    reserved_until: datetime | None = None  # None: redeemed at once
    redeemed_at: datetime | None = None
    released_at: datetime | None = None
    refunded_at: datetime | None = None
    voucher_returned: bool | None = None  # by the refund: the voucher had not expired

    def has_lapsed(self, now: datetime) -> bool:
        """Tell whether this is a reservation whose time is over."""
        return (
            self.state is RedemptionState.RESERVED
            and self.reserved_until is not None
            and self.reserved_until <= now
        )


def discount_amount(voucher: Voucher, amount: int) -> int:
    """Give what the voucher takes off an amount: its percentage, half a minor unit rounded up, then the cap."""
    rounded = (amount * voucher.discount + 50) // 100
    return rounded if voucher.max_discount_amount is None else min(rounded, voucher.max_discount_amount)


def choose_voucher(held: Sequence[HeldVoucher], now: datetime) -> Voucher:
    """Give the usable voucher that expires first.

    Raises Refusal `voucher_reserved`, `voucher_already_redeemed`, `voucher_expired` or `voucher_not_found`,
    whichever says best why there is none.
    """
    states = {
        one.state(now): one.voucher for one in sorted(held, key=lambda one: one.voucher.expire_at, reverse=True)
    }
    if VoucherState.AVAILABLE in states:
        return states[VoucherState.AVAILABLE]
    if VoucherState.RESERVED in states:
        raise Refusal("voucher_reserved", "Your voucher is held for another payment that is still running.")
    if VoucherState.REDEEMED in states:
        raise Refusal("voucher_already_redeemed", "Your voucher is spent.")
    if VoucherState.EXPIRED in states:
        raise Refusal("voucher_expired", "Your voucher has expired.")
    raise Refusal("voucher_not_found", "You have no voucher that can be used.")


def spend(redemption_id: UUID, voucher: Voucher, order: Order, now: datetime, *, reserve: bool) -> Redemption:
    """Give the redemption of a usable voucher, or, to `reserve` it, the reservation.

    Raises Refusal `currency_not_accepted`, `amount_too_small`.
    """
    if voucher.currency is not None and order.currency != voucher.currency:
        raise Refusal("currency_not_accepted", f"currency: your voucher is for purchases in {voucher.currency}.")
    if voucher.min_amount is not None and order.amount < voucher.min_amount:
        raise Refusal(
            "amount_too_small", f"amount: your voucher is for purchases of {voucher.min_amount} and more."
        )
    discount = discount_amount(voucher, order.amount)
    return Redemption(
        id=redemption_id,
        voucher_id=voucher.id,
        campaign_id=voucher.campaign_id,
        user_id=voucher.user_id,
        order_id=order.order_id,
        amount=order.amount,
        discount_amount=discount,
        payable_amount=order.amount - discount,
        currency=order.currency,
        state=RedemptionState.RESERVED if reserve else RedemptionState.REDEEMED,
        reserved_until=now + timedelta(minutes=RESERVATION_MINUTES) if reserve else None,
        redeemed_at=None if reserve else now,
    )


def confirmed(redemption: Redemption, now: datetime) -> Redemption:
    """Give the reservation redeemed; one that is redeemed stays as it is.

    Raises Refusal `reservation_released`, `reservation_expired`, `redemption_refunded`.
    """
    match redemption.state:
        case RedemptionState.REDEEMED:
            return redemption
        case RedemptionState.RELEASED:
            raise Refusal("reservation_released", "This reservation was released; the voucher was given back.")
        case RedemptionState.REFUNDED:
            raise Refusal("redemption_refunded", "This redemption was refunded.")
    if redemption.has_lapsed(now):
        raise Refusal("reservation_expired", "This reservation's time is over; the voucher was given back.")
    return replace(redemption, state=RedemptionState.REDEEMED, redeemed_at=now)


def released(redemption: Redemption, now: datetime) -> Redemption:
    """Give the reservation released; a released one stays as it is. Raises Refusal `reservation_confirmed`."""
    match redemption.state:
        case RedemptionState.RESERVED:
            return replace(redemption, state=RedemptionState.RELEASED, released_at=now)
        case RedemptionState.RELEASED:
            return redemption
    raise Refusal("reservation_confirmed", "This reservation was confirmed; refund the redemption instead.")


def refunded(redemption: Redemption, voucher: Voucher, now: datetime) -> Redemption:
    """Give the redemption refunded; one that is refunded stays as it is. Raises Refusal `redemption_not_found`."""
    match redemption.state:
        case RedemptionState.REDEEMED:
            returned = now < voucher.expire_at
            return replace(redemption, state=RedemptionState.REFUNDED, refunded_at=now, voucher_returned=returned)
        case RedemptionState.REFUNDED:
            return redemption
    raise Refusal("redemption_not_found", "There is no such redemption; a reservation can be released.")
