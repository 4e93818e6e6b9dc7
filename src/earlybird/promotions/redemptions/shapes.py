"""What redemptions look like over HTTP, in both directions."""

from typing import Literal

from pydantic import Field

from earlybird.promotions.redemptions.model import Redemption
from earlybird.promotions.shapes import Amount, Body, Currency, Shown


class Purchase(Body):
    """Body of POST /voucher/redemptions and /voucher/reservations."""

    order_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[!-~]+$", description="yours", examples=["topup-4711"]
    )
    amount: Amount
    currency: Currency


class _Settled(Body):
    id: str
    order_id: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str

    @staticmethod
    def terms(redemption: Redemption) -> dict[str, str | int]:
        names = ("order_id", "amount", "discount_amount", "payable_amount", "currency")
        return {"id": str(redemption.id)} | {name: getattr(redemption, name) for name in names}


class ShownQuote(Body):
    """What an order would come to with the voucher now; nothing is held for it."""

    order_id: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str


class Quoted(Body):
    """The quote."""

    status: Literal["success"] = "success"
    quote: ShownQuote

    @classmethod
    def of(cls, redemption: Redemption) -> "Quoted":
        """Show a redemption that is not made."""
        names = ("order_id", "amount", "discount_amount", "payable_amount", "currency")
        return cls(quote=ShownQuote.model_validate({name: getattr(redemption, name) for name in names}))


class ShownReservation(_Settled):
    """A voucher held for an order, or released; what it will come to."""

    reserved_until: Shown
    released_at: Shown | None = None


class Reserved(Body):
    """The reservation."""

    status: Literal["success"] = "success"
    reservation: ShownReservation

    @classmethod
    def of(cls, redemption: Redemption) -> "Reserved":
        """Show a reservation."""
        shown = ShownReservation.model_validate(
            _Settled.terms(redemption)
            | {"reserved_until": redemption.reserved_until, "released_at": redemption.released_at}
        )
        return cls(reservation=shown)


class ShownRedemption(_Settled):
    """A voucher spent on an order; `payable_amount` is what is left to pay."""

    redeemed_at: Shown


class Redeemed(Body):
    """The redemption."""

    status: Literal["success"] = "success"
    redemption: ShownRedemption

    @classmethod
    def of(cls, redemption: Redemption) -> "Redeemed":
        """Show a redemption."""
        shown = _Settled.terms(redemption) | {"redeemed_at": redemption.redeemed_at}
        return cls(redemption=ShownRedemption.model_validate(shown))


class ShownRefund(ShownRedemption):
    """A redemption that was taken back."""

    refunded_at: Shown
    voucher_returned: bool = Field(description="false: the voucher has expired by now")


class Refunded(Body):
    """The refunded redemption."""

    status: Literal["success"] = "success"
    redemption: ShownRefund

    @classmethod
    def of(cls, redemption: Redemption) -> "Refunded":
        """Show a refunded redemption."""
        names = ("redeemed_at", "refunded_at", "voucher_returned")
        shown = _Settled.terms(redemption) | {name: getattr(redemption, name) for name in names}
        return cls(redemption=ShownRefund.model_validate(shown))
