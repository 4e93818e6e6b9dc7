"""How a voucher is spent: what it takes off, and what may follow what. Pure: no I/O, no clock.

A redemption is one attempt to spend a voucher on one order. It begins reserved, while the payment runs, or
redeemed at once; a reservation is confirmed, released, or lapses by itself; what was redeemed may be refunded. A
reservation ends when its voucher is withdrawn.
Amounts are whole minor units (ISO 4217): cents of a euro, whole dong, thousandths of a Kuwaiti dinar.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.life import No, next_state
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher, VoucherState, voucher_not_found

RESERVATION_MINUTES = 15


class RedemptionState(StrEnum):
    """Where an attempt stands. LAPSED is never stored: it follows from the time."""

    RESERVED = "reserved"
    LAPSED = "lapsed"
    REDEEMED = "redeemed"
    RELEASED = "released"
    REFUNDED = "refunded"
    WITHDRAWN = "withdrawn"  # its voucher was, while it was reserved


class RedemptionEvent(StrEnum):
    """What happens to a redemption."""

    CONFIRM = "confirm"
    RELEASE = "release"
    REFUND = "refund"
    WITHDRAW = "withdraw"  # its voucher
    LAPSE = "15 minutes"


_RESERVED, _LAPSED, _REDEEMED, _RELEASED, _REFUNDED, _WITHDRAWN = RedemptionState
_CONFIRM, _RELEASE, _REFUND, _WITHDRAW, _LAPSE = RedemptionEvent
_TIME_IS_OVER = No("reservation_expired", "This reservation's time is over; the voucher was given back.")
_WAS_RELEASED = No("reservation_released", "This reservation was released; the voucher was given back.")
_WAS_REFUNDED = No("redemption_refunded", "This redemption was refunded.")
_WAS_CONFIRMED = No("reservation_confirmed", "This reservation was confirmed; refund the redemption instead.")
_WAS_WITHDRAWN = No("voucher_withdrawn", "The voucher was withdrawn, and this reservation ended with it.")
_IS_SPENT = No("voucher_already_redeemed", "This voucher is spent: refund the redemption first.")
_NOT_REDEEMED = No("redemption_not_found", "There is no such redemption; a reservation can be released.")
LIFE: Mapping[tuple[RedemptionState, RedemptionEvent], RedemptionState | No] = {
    (_RESERVED, _CONFIRM): _REDEEMED,
    (_RESERVED, _RELEASE): _RELEASED,
    (_RESERVED, _REFUND): _NOT_REDEEMED,
    (_RESERVED, _WITHDRAW): _WITHDRAWN,
    (_RESERVED, _LAPSE): _LAPSED,
    (_LAPSED, _CONFIRM): _TIME_IS_OVER,
    (_LAPSED, _RELEASE): _RELEASED,
    (_LAPSED, _REFUND): _NOT_REDEEMED,
    (_LAPSED, _WITHDRAW): _LAPSED,
    (_REDEEMED, _CONFIRM): _REDEEMED,
    (_REDEEMED, _RELEASE): _WAS_CONFIRMED,
    (_REDEEMED, _REFUND): _REFUNDED,
    (_REDEEMED, _WITHDRAW): _IS_SPENT,
    (_RELEASED, _CONFIRM): _WAS_RELEASED,
    (_RELEASED, _RELEASE): _RELEASED,
    (_RELEASED, _REFUND): _NOT_REDEEMED,
    (_RELEASED, _WITHDRAW): _RELEASED,
    (_REFUNDED, _CONFIRM): _WAS_REFUNDED,
    (_REFUNDED, _RELEASE): _WAS_CONFIRMED,
    (_REFUNDED, _REFUND): _REFUNDED,
    (_REFUNDED, _WITHDRAW): _REFUNDED,
    (_WITHDRAWN, _CONFIRM): _WAS_WITHDRAWN,
    (_WITHDRAWN, _RELEASE): _WAS_WITHDRAWN,
    (_WITHDRAWN, _REFUND): _NOT_REDEEMED,
    (_WITHDRAWN, _WITHDRAW): _WITHDRAWN,
}


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

    def state_at(self, now: datetime) -> RedemptionState:
        """Tell where the redemption stands: a reservation lapses by itself."""
        if self.state is _RESERVED and self.reserved_until is not None and self.reserved_until <= now:
            return _LAPSED
        return self.state


def discount_amount(voucher: Voucher, amount: int) -> int:
    """Return what the voucher takes off an amount: its percentage, half a minor unit rounded up, then the cap."""
    rounded = (amount * voucher.discount + 50) // 100
    return rounded if voucher.max_discount_amount is None else min(rounded, voucher.max_discount_amount)


def choose_voucher(held: Sequence[HeldVoucher], now: datetime) -> Voucher:
    """Return the usable voucher that expires first.

    Raises Refusal `voucher_reserved`, `voucher_already_redeemed`, `voucher_withdrawn`, `voucher_expired` or
    `voucher_not_found`, whichever says best why there is none.
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
    if VoucherState.WITHDRAWN in states:
        raise Refusal("voucher_withdrawn", "Your voucher was withdrawn. Please contact us.")
    if VoucherState.EXPIRED in states:
        raise Refusal("voucher_expired", "Your voucher has expired.")
    raise voucher_not_found()


def begun(redemption_id: UUID, voucher: Voucher, order: Order, now: datetime, *, reserve: bool) -> Redemption:
    """Return the redemption of a usable voucher, or, to `reserve` it, the reservation.

    Raises Refusal `currency_not_accepted`, `amount_too_small`.
    """
    if voucher.currency is not None and order.currency != voucher.currency:
        raise Refusal("currency_not_accepted", f"currency: your voucher is for purchases in {voucher.currency}.")
    if voucher.min_amount is not None and order.amount < voucher.min_amount:
        raise Refusal(
            "amount_too_small", f"amount: your voucher is for purchases of {voucher.min_amount} and more."
        )
    discount = discount_amount(voucher, order.amount)
    if not 0 < discount <= order.amount:
        raise Refusal("amount_too_small", "amount: your voucher takes nothing off so small a purchase.")
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


def settled(redemption: Redemption, event: RedemptionEvent, voucher: Voucher, now: datetime) -> Redemption:
    """Return the redemption after this event; the same redemption where the event was before.

    Raises the Refusal that LIFE has.
    """
    before = redemption.state_at(now)
    after = next_state(LIFE, before, event)
    if after is before:
        return redemption
    match event:
        case RedemptionEvent.CONFIRM:
            return replace(redemption, state=after, redeemed_at=now)
        case RedemptionEvent.RELEASE:
            return replace(redemption, state=after, released_at=now)
        case RedemptionEvent.WITHDRAW:
            return replace(redemption, state=after)
    returned = now < voucher.expire_at
    return replace(redemption, state=after, refunded_at=now, voucher_returned=returned)


def fingerprint(order: Order, *, reserve: bool) -> bytes:
    """Return what tells one request under an idempotency key from another: all that it asks for.

    No part of it holds a line break, so no two requests have the same text.
    """
    request = f"{'reserve' if reserve else 'redeem'}\n{order.order_id}\n{order.amount}\n{order.currency}"
    return hashlib.sha256(request.encode()).digest()
