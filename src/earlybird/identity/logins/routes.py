"""The HTTP of logins."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed
from earlybird.identity.accounts.model import normalise_password
from earlybird.identity.logins.service import Client, Logins
from earlybird.identity.throttle.devices import COOKIE, LIFETIME_SECONDS
from earlybird.identity.throttle.model import source
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, TOO_MANY, refused
from earlybird.infra.http.shedding import until_client_leaves
from earlybird.infra.http.strict_json import StrictRoute

Password = Annotated[
    str,
    Field(min_length=1, max_length=1024, examples=["correct horse battery"]),
    AfterValidator(normalise_password),
]


class Login(BaseModel):
    """Body of POST /login."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: str = Field(
        min_length=1,
        max_length=1024,
        description="user name, e-mail address or phone number",
        examples=["ada.lovelace"],
    )
    password: Password


class LoggedIn(BaseModel):
    """A token for 30 minutes."""

    status: Literal["success"] = "success"
    token: str = Field(description="send it as `Authorization: Bearer <token>`")


class PasswordChange(BaseModel):
    """Body of POST /password."""

    model_config = ConfigDict(extra="forbid", strict=True)

    current_password: Password
    new_password: Password


class PasswordChanged(BaseModel):
    """The password is the new one; all other sessions have ended."""

    status: Literal["success"] = "success"


router = APIRouter(route_class=StrictRoute, responses={429: TOO_MANY, 503: OVERLOAD})
_Logins = Annotated[Logins, Depends(built(Logins))]


@router.post(
    "/login",
    summary="Get a token",
    responses={400: refused("malformed, or wrong credentials")},
    tags=["accounts"],
)
async def log_in(body: Login, request: Request, response: Response, logins: _Logins) -> LoggedIn:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    leaves = partial(until_client_leaves, request)
    done = await logins.log_in(body.username, body.password, _client(request), leaves)
    if done.cookie:
        response.set_cookie(
            COOKIE,
            done.cookie,
            max_age=LIFETIME_SECONDS,
            path="/login",
            secure=request.headers.get("x-forwarded-proto") == "https",
            httponly=True,
            samesite="strict",
        )
    return LoggedIn(token=done.token)


@router.post(
    "/password",
    summary="Change my password, and end my other sessions",
    responses={
        400: refused("malformed"),
        **UNAUTHORISED,
        **DISABLED,
        422: refused("a password that may not be chosen, or a bad field"),
    },
    tags=["sessions"],
)
async def change_password(
    body: PasswordChange, request: Request, caller: Confirmed, logins: _Logins
) -> PasswordChanged:
    leaves = partial(until_client_leaves, request)
    await logins.change_password(caller, body.current_password, body.new_password, _client(request), leaves)
    return PasswordChanged()


def _client(request: Request) -> Client:
    address = request.headers.get("x-client-address")  # the balancer's own, never a client's
    return Client(source(address), address, request.headers.get("user-agent", ""), request.cookies.get(COOKIE))
