"""What a customer does with a voucher."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID, uuid4

from earlybird.client.calls import Answer, Call, reader
from earlybird.client.shapes import (
    CurrentCampaign,
    HeldVoucher,
    Place,
    Redemption,
    Refund,
    Reservation,
    Terms,
    Voucher,
)


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order of yours: `amount` in minor units of `currency` (ISO 4217)."""

    order_id: str
    amount: int
    currency: str


def current_campaign() -> Call[CurrentCampaign]:
    """See the open campaign. Refused with `campaign_not_found` when none is."""
    return Call("GET", "/campaigns/current", reader(CurrentCampaign, "campaign"))


def voucher() -> Call[Voucher]:
    """See the caller's usable voucher. Refused with `voucher_not_found` when there is none."""
    return Call("GET", "/voucher", reader(Voucher, "voucher"))


def vouchers() -> Call[list[HeldVoucher]]:
    """See all of the caller's vouchers, newest first."""
    return Call("GET", "/vouchers", reader(list[HeldVoucher], "vouchers"))


def place() -> Call[Place]:
    """See where the caller stands in the line, and why."""
    return Call("GET", "/place", reader(Place, "place"))


def quote(purchase: Purchase) -> Call[Terms]:
    """See what an order would come to with the caller's voucher; nothing is held or spent."""
    return Call("POST", "/voucher/quote", reader(Terms, "quote"), asdict(purchase))


def redeem(purchase: Purchase, key: str | None = None) -> Call[Redemption]:
    """Spend the caller's voucher. `key` is the idempotency key; a new one is made with the call."""
    return _to_spend("/voucher/redemptions", purchase, key, reader(Redemption, "redemption"))


def reserve(purchase: Purchase, key: str | None = None) -> Call[Reservation]:
    """Hold the caller's voucher for 15 minutes, while a payment runs."""
    return _to_spend("/voucher/reservations", purchase, key, reader(Reservation, "reservation"))


def confirm(reservation_id: UUID) -> Call[Redemption]:
    """Spend the held voucher: the payment went through."""
    return Call("POST", f"/voucher/reservations/{reservation_id}/confirm", reader(Redemption, "redemption"))


def release(reservation_id: UUID) -> Call[Reservation]:
    """Give the held voucher back: the payment failed."""
    return Call("POST", f"/voucher/reservations/{reservation_id}/release", reader(Reservation, "reservation"))


def refund(redemption_id: UUID) -> Call[Refund]:
    """Take a redemption back."""
    return Call("POST", f"/voucher/redemptions/{redemption_id}/refund", reader(Refund, "redemption"))


def _to_spend(path: str, purchase: Purchase, key: str | None, read: Callable[[Answer], Any]) -> Call[Any]:
    return Call("POST", path, read, asdict(purchase), headers={"Idempotency-Key": key or str(uuid4())})
