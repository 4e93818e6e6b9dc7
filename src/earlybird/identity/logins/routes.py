"""The HTTP of logins."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earlybird.identity.accounts.model import normalise_password
from earlybird.identity.logins.service import Logins
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.shedding import until_client_leaves
from earlybird.infra.http.strict_json import StrictRoute


class Login(BaseModel):
    """Body of POST /login."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: str = Field(
        min_length=1,
        max_length=1024,
        description="user name, e-mail address or phone number",
        examples=["ada.lovelace"],
    )
    password: Annotated[str, AfterValidator(normalise_password)] = Field(
        min_length=1, max_length=1024, examples=["correct horse battery"]
    )


class LoggedIn(BaseModel):
    """A token for 30 minutes."""

    status: Literal["success"] = "success"
    token: str = Field(description="send it as `Authorization: Bearer <token>`")


router = APIRouter(route_class=StrictRoute, tags=["accounts"])


@router.post(
    "/login",
    summary="Get a token",
    responses={400: refused("malformed, wrong credentials or a disabled account"), 503: OVERLOAD},
)
async def log_in(
    body: Login, request: Request, response: Response, logins: Annotated[Logins, Depends(built(Logins))]
) -> LoggedIn:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    client_leaves = partial(until_client_leaves, request)
    return LoggedIn(token=await logins.log_in(body.username, body.password, client_leaves))
