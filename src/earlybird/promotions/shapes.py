"""What vouchers and redemptions look like over HTTP, in both directions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from earlybird.promotions.model import Campaign, HeldVoucher, VoucherState, iso_utc
from earlybird.promotions.redemption import CURRENCIES, LARGEST_AMOUNT, Redemption

_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("give an ISO 4217 code, such as VND")
    return code


Shown = Annotated[datetime, PlainSerializer(iso_utc), _DATE_TIME]
Currency = Annotated[
    str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": CURRENCIES, "example": "VND"})
]
Amount = Annotated[int, Field(ge=1, le=LARGEST_AMOUNT, description="minor units: cents, whole dong, …")]
Percent = Annotated[int, Field(ge=1, le=100, description="percent", examples=[30])]


class Body(BaseModel):
    """Whatever is not in the shape is refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Purchase(Body):
    """Body of POST /voucher/redemptions and /voucher/reservations."""

    order_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[!-~]+$", description="yours", examples=["topup-4711"]
    )
    amount: Amount
    currency: Currency


class ShownVoucher(Body):
    """A voucher as GET /voucher shows it."""

    description: str
    discount: Percent
    expire_at: Shown


class VoucherFound(Body):
    """The caller's usable voucher that expires first."""

    status: Literal["success"]
    voucher: ShownVoucher


class MyVoucher(Body):
    """One of the caller's vouchers."""

    id: str
    campaign: str = Field(description="its name")
    description: str
    discount: Percent
    state: VoucherState
    position: str = Field(description="in the order of first logins", examples=["37 of 100"])
    currency: str | None
    min_amount: int | None
    max_discount_amount: int | None
    expire_at: Shown

    @classmethod
    def of(cls, held: HeldVoucher, campaign: Campaign, now: datetime) -> "MyVoucher":
        """Show a voucher."""
        voucher = held.voucher
        return cls(
            id=str(voucher.id),
            campaign=campaign.name,
            description=voucher.description,
            discount=voucher.discount,
            state=held.state(now),
            position=f"{voucher.position} of {campaign.number_of_promotion}",
            currency=voucher.currency,
            min_amount=voucher.min_amount,
            max_discount_amount=voucher.max_discount_amount,
            expire_at=voucher.expire_at,
        )


class MyVouchers(Body):
    """All of the caller's vouchers, newest first."""

    status: Literal["success"] = "success"
    vouchers: list[MyVoucher]


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
    voucher_returned: bool = Field(description="false: the voucher has expired meanwhile")


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
