"""What campaigns look like over HTTP, in both directions."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from earlybird.errors import Refusal
from earlybird.promotions.campaigns.model import Campaign, CampaignState
from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.shapes import Amount, Body, Currency, Percent, Shown
from earlybird.text import one_line
from earlybird.times import parse_moment

NAME_CHARACTERS = 100
_LONGEST_RAW = 2000  # characters as sent: the limits that matter are those of the normal form


def _line(most: int) -> AfterValidator:
    return AfterValidator(partial(one_line, most=most))


Given = Annotated[
    datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Number = Annotated[int, Field(ge=1, le=10_000_000, description="how many vouchers there are", examples=[100])]
Days = Annotated[int, Field(ge=1, le=3650, description="how long a voucher can be used")]
Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_RAW, examples=["Launch"]), _line(NAME_CHARACTERS)]
Description = Annotated[str, Field(min_length=1, max_length=_LONGEST_RAW), _line(500)]


_OPTIONAL = {"starts_at", "ends_at", "currency", "min_amount", "max_discount_amount"}


class NewCampaign(Body):
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

    def draft(self, campaign_id: UUID) -> Campaign:
        """Return the draft that is asked for."""
        terms = self.model_dump()
        terms["description"] = self.description or f"{self.discount} % off your next purchase"
        return Campaign(id=campaign_id, first_n=None, **terms)


class CampaignChanges(Body):
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

    def changes(self) -> dict[str, Any]:
        """Return the fields to change. Raises Refusal `invalid_field` for null where there must be a value."""
        changes = self.model_dump(exclude_unset=True)
        for name, value in changes.items():
            if value is None and name not in _OPTIONAL:
                raise Refusal("invalid_field", f"{name}: give a value, or leave it out.")
        return changes


class ShownCampaign(Body):
    """A campaign as its managers see it."""

    id: str
    name: str
    state: CampaignState
    discount: Percent
    number_of_promotion: int
    remaining_promotion: int
    replacements: int = Field(description="vouchers on top of these, each in place of a withdrawn one")
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


class CampaignFound(Body):
    """One campaign."""

    status: Literal["success"] = "success"
    campaign: ShownCampaign


class CampaignsFound(Body):
    """Campaigns, newest first."""

    status: Literal["success"] = "success"
    campaigns: list[ShownCampaign]


class ShownCurrentCampaign(Body):
    """The open campaign as everybody sees it."""

    name: str
    discount: Percent
    remaining: int
    total: int
    is_sold_out: bool = Field(description="nobody who comes now gets a voucher, unless there will be more")

    @classmethod
    def of(cls, record: CampaignRecord) -> "ShownCurrentCampaign":
        """Show the open campaign."""
        campaign = record.campaign
        return cls(
            name=campaign.name,
            discount=campaign.discount,
            remaining=record.remaining,
            total=campaign.number_of_promotion,
            is_sold_out=record.remaining == 0,
        )


class CurrentCampaign(Body):
    """The open campaign."""

    status: Literal["success"] = "success"
    campaign: ShownCurrentCampaign
