"""The HTTP of accounts: what comes in, what goes out."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed
from earlybird.identity.accounts.model import NewUser
from earlybird.identity.accounts.service import Accounts
from earlybird.identity.accounts.shapes import AccountFound, Registered, Registration, ShownAccount
from earlybird.identity.throttle.model import source
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, TOO_MANY, refused
from earlybird.infra.http.shedding import until_client_leaves
from earlybird.infra.http.strict_json import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["accounts"], responses={503: OVERLOAD})


@router.post(
    "/register",
    summary="Make an account",
    responses={400: refused("what is wrong with the request, or which of the three is taken"), 429: TOO_MANY},
)
async def register(
    body: Registration, request: Request, accounts: Annotated[Accounts, Depends(built(Accounts))]
) -> Registered:
    leaves = partial(until_client_leaves, request)
    user = NewUser(**dict(body), accept_language=request.headers.get("accept-language"))
    await accounts.register(user, source(request.headers.get("x-client-address")), leaves)
    return Registered()


@router.get(
    "/account", summary="See whether my account is active, and its roles", responses={**UNAUTHORISED, **DISABLED}
)
async def get_account(caller: Confirmed, response: Response) -> AccountFound:
    response.headers["Cache-Control"] = "no-store"
    return AccountFound(account=ShownAccount(id=str(caller.user_id), roles=list(caller.roles)))
