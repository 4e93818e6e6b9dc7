"""What reports look like over HTTP."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field

from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.campaigns.shapes import ShownCampaign
from earlybird.promotions.places.service import FoundPlace
from earlybird.promotions.redemptions.model import Redemption
from earlybird.promotions.reports.model import Figures, HolderEntry, most_discount
from earlybird.promotions.shapes import Body, Shown
from earlybird.promotions.vouchers.store import held_voucher_of
from earlybird.promotions.withdrawals.shapes import ShownWithdrawal


class ShownWinner(Body):
    """One winner."""

    position: int
    user_id: str
    voucher_id: str
    first_login_number: int = Field(description="among all first logins")
    discount: int = Field(description="percent")
    state: str
    granted_at: Shown
    expire_at: Shown

    @classmethod
    def of(cls, voucher: dict[str, Any], now: datetime) -> Self:
        """Show a winner: a document of `vouchers`."""
        return cls(
            position=voucher["position"],
            user_id=str(voucher["user_id"]),
            voucher_id=str(voucher["_id"]),
            first_login_number=voucher["first_login_n"],
            discount=voucher["discount"],
            state=held_voucher_of(voucher).state(now),
            granted_at=voucher["created_at"],
            expire_at=voucher["expire_at"],
        )


class WinnersFound(Body):
    """Some winners, by position."""

    status: Literal["success"] = "success"
    winners: list[ShownWinner]
    next: int | None = Field(description="send it as `after` for the next page; null on the last")


class ShownSpending(Body):
    """One attempt to spend a voucher of the campaign."""

    id: str
    user_id: str
    order_id: str
    state: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str
    reserved_until: Shown | None
    redeemed_at: Shown | None
    refunded_at: Shown | None

    @classmethod
    def of(cls, redemption: Redemption, now: datetime) -> Self:
        """Show an attempt."""
        own = {"id", "user_id", "state"}
        names = [name for name in cls.model_fields if name not in own]
        return cls(
            id=str(redemption.id),
            user_id=str(redemption.user_id),
            state=redemption.state_at(now),
            **{name: getattr(redemption, name) for name in names},
        )


class SpendingFound(Body):
    """Some attempts, newest first."""

    status: Literal["success"] = "success"
    redemptions: list[ShownSpending]
    next: str | None = Field(description="send it as `before` for the next page; null on the last")


class WithdrawalsFound(Body):
    """Some withdrawals, by position."""

    status: Literal["success"] = "success"
    withdrawals: list[ShownWithdrawal]
    next: int | None = Field(description="send it as `after` for the next page; null on the last")


class Given(Body):
    """Discount given in one currency, in minor units."""

    currency: str
    amount: int


class ShownFigures(Body):
    """What a campaign has come to."""

    status: Literal["success"] = "success"
    granted: int
    remaining: int
    withdrawn: int
    held: int
    redeemed: int
    refunded: int
    in_line: int = Field(description="people who come next if there are more vouchers")
    given: list[Given] = Field(description="discount given so far, by currency")
    most_still: int | None = Field(
        description="the most that it can still cost, in minor units; null: without `max_discount_amount` no bound"
    )

    @classmethod
    def of(cls, figures: Figures, record: CampaignRecord) -> Self:
        """Show figures."""
        own = {"status", "given", "most_still"}
        return cls(
            given=[Given(currency=currency, amount=amount) for currency, amount in figures.given.items()],
            most_still=most_discount(record.campaign, figures.usable),
            **{name: getattr(figures, name) for name in cls.model_fields if name not in own},
        )


class GrantedPoint(Body):
    """When the voucher at a position was granted."""

    position: int
    at: Shown


class GrantCurve(Body):
    """How a campaign's vouchers were granted over time."""

    status: Literal["success"] = "success"
    first_number: int | None = Field(description="the first number of all first logins that counts; null: a draft")
    granted: int
    points: list[GrantedPoint]


class Preview(Body):
    """What a change would do."""

    status: Literal["success"] = "success"
    campaign: ShownCampaign = Field(description="as it would be")
    people_at_once: int = Field(description="people in line who get a voucher at once")
    most_discount_amount: int | None = Field(
        description="the most that all its vouchers can cost, in minor units; null: no bound"
    )

    @classmethod
    def of(cls, record: CampaignRecord, people: int, now: datetime) -> Self:
        """Show what would be."""
        most = most_discount(record.campaign, record.campaign.capacity)
        return cls(campaign=ShownCampaign.of(record, now), people_at_once=people, most_discount_amount=most)


class ShownHolderEntry(Body):
    """Something that happened to a person's voucher."""

    at: Shown
    what: str = Field(description="for programs", examples=["voucher.granted"])
    text: str = Field(description="for people")
    campaign_id: str
    order_id: str | None
    amount: int | None
    discount_amount: int | None
    currency: str | None

    @classmethod
    def of(cls, entry: HolderEntry) -> Self:
        """Show an entry."""
        plain = {name: getattr(entry, name) for name in cls.model_fields if name != "campaign_id"}
        return cls(campaign_id=str(entry.campaign_id), **plain)


class Judged(Body):
    """How a first login was judged."""

    standing: str = Field(description="why there is a place, or none")
    place: int | None
    has_won: bool
    is_withdrawn: bool
    campaign_id: str | None
    campaign: str | None = Field(description="the name")
    total: int | None
    last_winner_at: Shown | None

    @classmethod
    def of(cls, found: FoundPlace) -> Self:
        """Show a place."""
        record = found.campaign
        return cls(
            standing=found.standing,
            place=found.place,
            has_won=found.has_won,
            is_withdrawn=found.is_withdrawn,
            campaign_id=str(record.campaign.id) if record else None,
            campaign=record.campaign.name if record else None,
            total=record.campaign.number_of_promotion if record else None,
            last_winner_at=record.last_winner_at if record else None,
        )


class HolderFound(Body):
    """What happened to one person's vouchers, oldest first."""

    status: Literal["success"] = "success"
    user_id: UUID
    judged: Judged | None = Field(description="null unless number and time of the first login were sent")
    timeline: list[ShownHolderEntry]
