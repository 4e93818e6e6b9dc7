"""What vouchers, redemptions and campaigns look like over HTTP, in both directions."""

import unicodedata
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from earlybird.promotions.campaign_store import CampaignRecord
from earlybird.promotions.model import Campaign, CampaignState, HeldVoucher, VoucherState, iso_utc
from earlybird.promotions.redemption import CURRENCIES, LARGEST_AMOUNT, Redemption

_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("give an ISO 4217 code, such as VND")
    return code


def _milliseconds(moment: datetime) -> datetime:
    """Cut a time to what MongoDB keeps."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if not text or any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("give a text, without control characters")
    return text


Shown = Annotated[datetime, PlainSerializer(iso_utc), _DATE_TIME]
Given = Annotated[AwareDatetime, AfterValidator(_milliseconds), Field(strict=False)]
Currency = Annotated[
    str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": CURRENCIES, "example": "VND"})
]
Amount = Annotated[int, Field(ge=1, le=LARGEST_AMOUNT, description="minor units: cents, whole dong, …")]
Percent = Annotated[int, Field(ge=1, le=100, description="percent", examples=[30])]
Number = Annotated[int, Field(ge=1, le=10_000_000, description="how many vouchers there are", examples=[100])]
Days = Annotated[int, Field(ge=1, le=3650, description="how long a voucher can be used")]
Name = Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=100, examples=["Launch"])]
Description = Annotated[str, AfterValidator(_one_line), Field(min_length=1, max_length=500)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Purchase(_Body):
    """Body of POST /voucher/redemptions and /voucher/reservations."""

    order_id: str = Field(
        min_length=1, max_length=64, pattern=r"^[!-~]+$", description="yours", examples=["topup-4711"]
    )
    amount: Amount
    currency: Currency


class NewCampaign(_Body):
    """Body of POST /campaigns."""

    name: Name
    discount: Percent
    number_of_promotion: Number
    description: Description | None = Field(None, description="default: “<discount> % off your next purchase”")
    voucher_days: Days = 30
    starts_at: Given | None = Field(None, description="starts by itself then; without: when it is opened")
    ends_at: Given | None = Field(None, description="excluded; without: when it is closed")
    currency: Currency | None = Field(None, description="of the purchases that vouchers are for; without: any")
    min_amount: Amount | None = Field(None, description="of a purchase, in minor units; needs `currency`")
    max_discount_amount: Amount | None = Field(None, description="cap, in minor units; needs `currency`")


class CampaignChanges(_Body):
    """Body of PATCH /campaigns/{id}: the fields to change. null takes an optional one away."""

    name: Name | None = None
    discount: Percent | None = None
    number_of_promotion: Number | None = None
    description: Description | None = None
    voucher_days: Days | None = None
    starts_at: Given | None = None
    ends_at: Given | None = None
    currency: Currency | None = None
    min_amount: Amount | None = None
    max_discount_amount: Amount | None = None


class ShownVoucher(_Body):
    """A voucher as GET /voucher shows it."""

    description: str
    discount: Percent
    expire_at: Shown


class VoucherFound(_Body):
    """The caller's usable voucher that expires first."""

    status: Literal["success"]
    voucher: ShownVoucher


class MyVoucher(_Body):
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


class MyVouchers(_Body):
    """All of the caller's vouchers, newest first."""

    status: Literal["success"] = "success"
    vouchers: list[MyVoucher]


class _Settled(_Body):
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


class Reserved(_Body):
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


class Redeemed(_Body):
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


class Refunded(_Body):
    """The refunded redemption."""

    status: Literal["success"] = "success"
    redemption: ShownRefund

    @classmethod
    def of(cls, redemption: Redemption) -> "Refunded":
        """Show a refunded redemption."""
        names = ("redeemed_at", "refunded_at", "voucher_returned")
        shown = _Settled.terms(redemption) | {name: getattr(redemption, name) for name in names}
        return cls(redemption=ShownRefund.model_validate(shown))


class ShownCampaign(_Body):
    """A campaign as its managers see it."""

    id: str
    name: str
    state: CampaignState
    discount: Percent
    number_of_promotion: int
    remaining_promotion: int
    description: str
    voucher_days: int
    currency: str | None
    min_amount: int | None
    max_discount_amount: int | None
    starts_at: Shown | None
    ends_at: Shown | None
    created_at: Shown
    updated_at: Shown

    @classmethod
    def of(cls, record: CampaignRecord, now: datetime) -> "ShownCampaign":
        """Show a campaign."""
        own = {"id", "state", "remaining_promotion", "created_at", "updated_at"}
        return cls(
            id=str(record.campaign.id),
            state=record.state(now),
            remaining_promotion=record.remaining,
            created_at=record.created_at,
            updated_at=record.updated_at,
            **{name: getattr(record.campaign, name) for name in cls.model_fields if name not in own},
        )


class CampaignFound(_Body):
    """One campaign."""

    status: Literal["success"] = "success"
    campaign: ShownCampaign


class CampaignsFound(_Body):
    """Campaigns, newest first."""

    status: Literal["success"] = "success"
    campaigns: list[ShownCampaign]


class ShownCurrentCampaign(_Body):
    """The open campaign as everybody sees it."""

    name: str
    discount: Percent
    remaining: int
    total: int


class CurrentCampaign(_Body):
    """The open campaign."""

    status: Literal["success"] = "success"
    campaign: ShownCurrentCampaign
