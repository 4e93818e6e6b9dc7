"""The HTTP of places."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from earlybird.access.callers import DISABLED, UNAUTHORISED, Verified
from earlybird.infra.http.app import bearer_token, built
from earlybird.infra.http.refusals import OVERLOAD
from earlybird.promotions.places.model import Standing
from earlybird.promotions.places.receipts import Receipt, Receipts
from earlybird.promotions.places.service import FoundPlace, Places
from earlybird.times import iso_utc


class ShownReceipt(BaseModel):
    """The first login, as identity signed it: keep it. `earlybird verify` checks it."""

    n: int = Field(description="the number among all first logins")
    first_login_at: str = Field(description="ISO 8601, UTC")
    seal: str = Field(description="hexadecimal")
    jws: str


class ShownPlace(BaseModel):
    """Where the caller stands."""

    standing: Standing = Field(description="why there is a place, or none")
    place: int | None = Field(description="the number among the first logins that the campaign counted")
    has_won: bool
    is_withdrawn: bool = Field(description="the voucher was taken back, from a bot or a second account")
    campaign: str | None = Field(description="the name")
    total: int | None = Field(description="how many vouchers there are")
    granted: int | None = Field(description="how many are given out")
    first_login_at: str | None = Field(description="when the caller came; ISO 8601, UTC")
    last_winner_at: str | None = Field(description="when the last winner so far came; ISO 8601, UTC")
    receipt: ShownReceipt | None

    @classmethod
    def of(cls, found: FoundPlace, receipt: Receipt | None) -> "ShownPlace":
        """Show a place."""
        record = found.campaign
        last = record.last_winner_at if record else None
        came_at = iso_utc(receipt.first_login_at) if receipt else None
        return cls(
            standing=found.standing,
            place=found.place,
            has_won=found.has_won,
            is_withdrawn=found.is_withdrawn,
            campaign=record.campaign.name if record else None,
            total=record.campaign.number_of_promotion if record else None,
            granted=record.granted if record else None,
            first_login_at=came_at,
            last_winner_at=iso_utc(last) if last else None,
            receipt=ShownReceipt(n=receipt.n, first_login_at=came_at or "", seal=receipt.seal, jws=receipt.jws)
            if receipt
            else None,
        )


class PlaceFound(BaseModel):
    """The caller's place."""

    status: Literal["success"] = "success"
    place: ShownPlace


router = APIRouter(tags=["places"], responses={503: OVERLOAD})


@router.get("/place", summary="See my place in the line", responses={**UNAUTHORISED, **DISABLED})
async def get_place(
    _: Verified,
    request: Request,
    response: Response,
    receipts: Annotated[Receipts, Depends(built(Receipts))],
    places: Annotated[Places, Depends(built(Places))],
) -> PlaceFound:
    response.headers["Cache-Control"] = "no-store"
    receipt, is_staff = await receipts.find(bearer_token(request))
    came = (receipt.n, receipt.first_login_at) if receipt else None
    return PlaceFound(place=ShownPlace.of(await places.find(came, is_staff=is_staff), receipt))
