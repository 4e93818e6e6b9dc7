"""The HTTP of the ledger: everybody's own receipt, and the newest seal."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed
from earlybird.identity.ledger.receipts import Receipts
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD
from earlybird.times import iso_utc


class ShownReceipt(BaseModel):
    """A first login as the ledger has it."""

    n: int = Field(description="the number among all first logins")
    first_login_at: str = Field(description="ISO 8601, UTC")
    seal: str = Field(description="hexadecimal")
    jws: str = Field(description="number, time and seal, signed: keep it")


class ReceiptFound(BaseModel):
    """The caller's receipt; null before the first login has its number, and for staff."""

    status: Literal["success"] = "success"
    receipt: ShownReceipt | None
    roles: list[str]


class LatestSeal(BaseModel):
    """The newest number and seal."""

    status: Literal["success"] = "success"
    n: int = Field(description="0 while nobody has logged in")
    seal: str = Field(description="hexadecimal")
    jws: str = Field(description="number and seal, signed")
    key: dict[str, Any] = Field(description="the public key that verifies it and all receipts (JWK)")


router = APIRouter(tags=["seals"], responses={503: OVERLOAD})
_Receipts = Annotated[Receipts, Depends(built(Receipts))]


@router.get("/receipt", summary="My first login, signed", responses={**UNAUTHORISED, **DISABLED})
async def get_receipt(caller: Confirmed, response: Response, receipts: _Receipts) -> ReceiptFound:
    response.headers["Cache-Control"] = "no-store"
    found = await receipts.find(caller.user_id)
    shown = found and ShownReceipt(
        n=found.n, first_login_at=iso_utc(found.first_login_at), seal=found.seal, jws=found.jws
    )
    return ReceiptFound(receipt=shown, roles=list(caller.roles))


@router.get("/seals/latest", summary="The newest number and seal of the ledger, signed")
async def get_latest_seal(response: Response, receipts: _Receipts) -> LatestSeal:
    response.headers["Cache-Control"] = "public, max-age=1"
    latest = await receipts.latest()
    return LatestSeal(n=latest.n, seal=latest.seal, jws=latest.jws, key=receipts.public_key)
