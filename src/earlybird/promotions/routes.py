"""promotions' HTTP: what comes in, what goes out."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from earlybird.infra.web import OVERLOAD, bearer_token, refused
from earlybird.promotions.service import Promotions
from earlybird.tokens import TokenVerifier


class ShownVoucher(BaseModel):
    """A voucher as its owner sees it."""

    model_config = ConfigDict(extra="forbid")

    description: str
    discount: int = Field(ge=1, le=100, description="percent")
    expire_at: datetime = Field(description="ISO 8601, UTC")


class VoucherFound(BaseModel):
    """The caller's usable voucher that expires first."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["success"]
    voucher: ShownVoucher


def promotions_routes(promotions: Promotions, verifier: TokenVerifier) -> APIRouter:
    """Build promotions' routes."""
    router = APIRouter(tags=["vouchers"])
    # For OpenAPI alone: the header is read and judged by us, so that refusals have our form.
    bearer = Depends(HTTPBearer(bearerFormat="JWT", auto_error=False))

    @router.get(
        "/voucher",
        summary="See my voucher",
        response_class=Response,
        dependencies=[bearer],
        responses={
            200: {"model": VoucherFound},
            400: refused("no usable voucher, or no valid token (then with `WWW-Authenticate`)"),
            503: OVERLOAD,
        },
    )
    async def get_voucher(request: Request) -> Response:
        caller = await verifier.verify(bearer_token(request))
        voucher = await promotions.current_voucher(caller.user_id)
        return Response(
            b'{"status":"success","voucher":%b}' % voucher,
            media_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    return router
