"""The HTTP of accounts: what comes in, what goes out."""

from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed
from earlybird.identity.accounts.model import (
    NewUser,
    check_birthday,
    normalise_email,
    normalise_full_name,
    normalise_password,
    normalise_phone,
    normalise_username,
    parse_birthday,
)
from earlybird.identity.accounts.service import Accounts
from earlybird.infra.http.app import OVERLOAD, built, refused
from earlybird.infra.http.shedding import until_client_leaves


def _birthday(text: str) -> date:
    return check_birthday(parse_birthday(text), datetime.now(UTC).date())


class Registration(BaseModel):
    """Body of POST /register."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: Annotated[str, AfterValidator(normalise_username)] = Field(
        min_length=1,
        max_length=64,
        description="3-32 letters, digits, `.`, `_`, `-`",
        examples=["ada.lovelace"],
    )
    email: Annotated[str, AfterValidator(normalise_email)] = Field(
        min_length=3, max_length=254, examples=["ada@example.com"]
    )
    phone: Annotated[str, AfterValidator(normalise_phone)] = Field(
        min_length=5, max_length=32, description="in international form", examples=["+84 912 345 678"]
    )
    password: Annotated[str, AfterValidator(normalise_password)] = Field(
        min_length=8,
        max_length=128,
        description="8-128 characters of any kind",
        examples=["correct horse battery"],
    )
    full_name: Annotated[str, AfterValidator(normalise_full_name)] = Field(
        min_length=1, max_length=200, examples=["Ada Lovelace"]
    )
    birthday: Annotated[str, AfterValidator(_birthday)] = Field(
        min_length=4, max_length=40, description="ISO 8601 date or datetime", examples=["1990-12-10"]
    )


class Registered(BaseModel):
    """The account was made."""

    status: Literal["success"] = "success"


class ShownAccount(BaseModel):
    """The caller's account as it is now."""

    id: str
    roles: list[str]


class AccountFound(BaseModel):
    """An active account."""

    status: Literal["success"] = "success"
    account: ShownAccount


router = APIRouter(tags=["accounts"], responses={503: OVERLOAD})


@router.post(
    "/register",
    summary="Make an account",
    responses={400: refused("what is wrong with the request, or which of the three is taken")},
)
async def register(
    body: Registration, request: Request, accounts: Annotated[Accounts, Depends(built(Accounts))]
) -> Registered:
    await accounts.register(NewUser(**dict(body)), partial(until_client_leaves, request))
    return Registered()


@router.get(
    "/account", summary="See whether my account is active, and its roles", responses={**UNAUTHORISED, **DISABLED}
)
async def get_account(caller: Confirmed, response: Response) -> AccountFound:
    response.headers["Cache-Control"] = "no-store"
    return AccountFound(account=ShownAccount(id=str(caller.user_id), roles=list(caller.roles)))
