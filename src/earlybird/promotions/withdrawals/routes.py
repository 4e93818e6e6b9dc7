"""The HTTP of withdrawals: take a voucher from a bot or a second account."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from earlybird.access.callers import MANAGERS_ONLY, UNAUTHORISED, Manager
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.promotions.withdrawals.service import Withdrawals
from earlybird.promotions.withdrawals.shapes import NewWithdrawal, ShownWithdrawal, Withdrawn

router = APIRouter(route_class=StrictRoute, prefix="/campaigns", tags=["campaigns"], responses={503: OVERLOAD})


@router.post(
    "/{campaign_id:uuid}/withdrawals",
    summary="Take an unspent voucher from a bot or a second account, for good",
    description="Ends a hold, too. With `replace`, the next in line has one at once, at a new position. "
    "The same request again changes nothing, and gives the same answer.",
    responses={
        **UNAUTHORISED,
        **MANAGERS_ONLY,
        400: refused("malformed JSON"),
        404: refused("there is no such voucher in this campaign"),
        409: refused("it is spent, or the campaign can replace no more"),
        422: refused("a bad field, or not one of `user_id` and `voucher_id`"),
    },
)
async def withdraw(
    caller: Manager,
    campaign_id: UUID,
    body: NewWithdrawal,
    withdrawals: Annotated[Withdrawals, Depends(built(Withdrawals))],
) -> Withdrawn:
    withdrawal = await withdrawals.withdraw(
        body.wanted(campaign_id), body.reason, str(caller.user_id), replace=body.replace
    )
    return Withdrawn(withdrawal=ShownWithdrawal.of(withdrawal))
