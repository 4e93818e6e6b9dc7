"""The HTTP of vouchers: see them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from earlybird.access.callers import BEARER, UNAUTHORISED, Callers
from earlybird.access.permissions import Caller
from earlybird.infra.http.app import OVERLOAD, refused
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.shapes import MyVoucher, MyVouchers, VoucherFound


def voucher_routes(vouchers: Vouchers, callers: Callers) -> APIRouter:
    """Build the routes of vouchers."""
    router = APIRouter(tags=["vouchers"])
    Verified = Annotated[Caller, Depends(callers.verified)]  # noqa: N806  # a type

    @router.get(
        "/voucher",
        summary="See my voucher",
        response_class=Response,
        dependencies=[BEARER],
        responses={
            200: {"model": VoucherFound},
            400: refused("no usable voucher, or no valid token (then with `WWW-Authenticate`)"),
            503: OVERLOAD,
        },
    )
    async def get_voucher(request: Request) -> Response:
        caller = await callers.verified(request)  # not as a dependency: this is the busiest route
        voucher = await vouchers.current_voucher(caller.user_id)
        return Response(
            b'{"status":"success","voucher":%b}' % voucher,
            media_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    @router.get(
        "/vouchers",
        summary="See all my vouchers, also those spent, held or expired",
        dependencies=[BEARER],
        responses={**UNAUTHORISED, 503: OVERLOAD},
    )
    async def get_vouchers(caller: Verified, response: Response) -> MyVouchers:
        response.headers["Cache-Control"] = "no-store"
        now = datetime.now(UTC)
        found = await vouchers.all_vouchers(caller.user_id)
        return MyVouchers(vouchers=[MyVoucher.of(held, campaign, now) for held, campaign in found])

    return router
