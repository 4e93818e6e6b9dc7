"""The HTTP of redemptions: spend a voucher, hold it, give it back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed, Responses, Verified
from earlybird.access.permissions import CAMPAIGN_MANAGER
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.promotions.redemptions.model import Order
from earlybird.promotions.redemptions.service import Redemptions
from earlybird.promotions.redemptions.shapes import Purchase, Quoted, Redeemed, Refunded, Reserved

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="yours, a new one for each purchase; the same request under it gives the same answer for 24 h",
    ),
]
_TO_SPEND: Responses = {
    400: refused("no or a bad Idempotency-Key, or malformed JSON"),
    404: refused("the caller never had a voucher"),
    409: refused(
        "it is spent, withdrawn, expired, or held for another payment; or this very request is in flight"
    ),
    422: refused("a bad field, the wrong currency, too small an amount, or a key used for another request"),
}
_TO_SETTLE: Responses = {
    404: refused("the caller has no such one"),
    409: refused("it was released, its time is over, its voucher was withdrawn, or it is confirmed or refunded"),
}
Service = Annotated[Redemptions, Depends(built(Redemptions))]
router = APIRouter(
    route_class=StrictRoute,
    prefix="/voucher",
    tags=["vouchers"],
    responses={**UNAUTHORISED, **DISABLED, 503: OVERLOAD},
)


_QUOTED: Responses = {status: answer for status, answer in _TO_SPEND.items() if status != 400} | {
    400: refused("malformed JSON"),
}


@router.post(
    "/quote",
    summary="See what a purchase would come to with my voucher",
    description="Changes nothing and holds nothing: a redemption or reservation may come to something else later.",
    responses=_QUOTED,
)
async def quote(caller: Verified, body: Purchase, redemptions: Service) -> Quoted:
    return Quoted.of(await redemptions.quote(caller.user_id, Order(**dict(body))))


@router.post(
    "/redemptions",
    summary="Spend my voucher on a purchase",
    description="Takes the voucher's percentage off `amount`, half a minor unit rounded up, up to its cap.",
    responses=_TO_SPEND,
)
async def redeem(caller: Confirmed, body: Purchase, key: IdempotencyKey, redemptions: Service) -> Redeemed:
    return Redeemed.of(await redemptions.redeem(caller.user_id, key, Order(**dict(body))))


@router.post("/reservations", summary="Hold my voucher for 15 minutes, while a payment runs", responses=_TO_SPEND)
async def reserve(caller: Confirmed, body: Purchase, key: IdempotencyKey, redemptions: Service) -> Reserved:
    return Reserved.of(await redemptions.reserve(caller.user_id, key, Order(**dict(body))))


@router.post(
    "/reservations/{reservation_id:uuid}/confirm",
    summary="Spend the held voucher: the payment went through",
    responses=_TO_SETTLE,
)
async def confirm(caller: Confirmed, reservation_id: UUID, redemptions: Service) -> Redeemed:
    return Redeemed.of(await redemptions.confirm(caller.user_id, reservation_id))


@router.post(
    "/reservations/{reservation_id:uuid}/release",
    summary="Give the held voucher back: the payment failed",
    responses=_TO_SETTLE,
)
async def release(caller: Confirmed, reservation_id: UUID, redemptions: Service) -> Reserved:
    return Reserved.of(await redemptions.release(caller.user_id, reservation_id))


@router.post(
    "/redemptions/{redemption_id:uuid}/refund",
    summary="Take a redemption back: the voucher can be used again, unless it has expired",
    description=f"For its owner, unless the deployment forbids it, and for holders of `{CAMPAIGN_MANAGER}`.",
    responses=_TO_SETTLE,
)
async def refund(caller: Confirmed, redemption_id: UUID, redemptions: Service) -> Refunded:
    return Refunded.of(await redemptions.refund(redemption_id, caller))
