"""The HTTP of vouchers: see them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from earlybird.access.callers import UNAUTHORISED, Callers, Verified
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.promotions.vouchers.model import voucher_not_found
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.shapes import MyVoucher, MyVouchers, VoucherFound, found

router = APIRouter(tags=["vouchers"], responses={503: OVERLOAD})
_NO_STORE = {"Cache-Control": "no-store"}


@router.get(
    "/voucher",
    summary="See my voucher",
    response_class=Response,
    responses={
        200: {"model": VoucherFound},
        400: refused("no usable voucher, or no valid token (then with `WWW-Authenticate`)"),
    },
    openapi_extra={"security": [{"HTTPBearer": []}]},
)
async def get_voucher(request: Request) -> Response:
    # `busy_read` has answered what is usual: here are HEAD, and what is to be refused.
    services = request.app.state.built
    caller = await services[Callers].verified(request)
    voucher = await services[Vouchers].current_voucher(caller.user_id)
    if voucher is None:
        raise voucher_not_found()
    return Response(found(voucher), media_type="application/json", headers=_NO_STORE)


@router.get(
    "/vouchers",
    summary="See all my vouchers, also those spent, held, expired or withdrawn",
    responses=UNAUTHORISED,
)
async def get_vouchers(
    caller: Verified, response: Response, vouchers: Annotated[Vouchers, Depends(built(Vouchers))]
) -> MyVouchers:
    response.headers.update(_NO_STORE)
    now = datetime.now(UTC)
    found = await vouchers.all_vouchers(caller.user_id)
    return MyVouchers(vouchers=[MyVoucher.of(held, campaign, now) for held, campaign in found])
