"""Callers: hands a route the caller of a request, or refuses the request."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_args

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from earlybird.access.permissions import CAMPAIGN_MANAGER, SUPPORT, VIEWERS, Caller
from earlybird.access.verifier import TokenVerifier
from earlybird.errors import InvalidReason, InvalidToken, forbidden
from earlybird.infra.http.app import bearer_token, built, token_of
from earlybird.infra.http.refusals import refused
from earlybird.infra.security_log import note
from earlybird.metrics import TOKEN_FAILURES

_FAILURES = {reason: TOKEN_FAILURES.labels(reason) for reason in get_args(InvalidReason)}
Confirm = Callable[[Caller, str], Awaitable[Caller]]
Responses = dict[int | str, dict[str, Any]]

UNAUTHORISED: Responses = {401: refused("no valid token (with `WWW-Authenticate`)")}
DISABLED: Responses = {403: refused("the account is disabled")}
VIEWERS_ONLY: Responses = {
    403: refused(f"the account is disabled, or has neither the role `{SUPPORT}` nor `{CAMPAIGN_MANAGER}`")
}
MANAGERS_ONLY: Responses = {403: refused(f"the account is disabled, or lacks the role `{CAMPAIGN_MANAGER}`")}


class Callers:
    """Who sends requests. Every method raises InvalidToken, or Unavailable when the token cannot be checked."""

    def __init__(self, verifier: TokenVerifier, confirm: Confirm) -> None:
        self._verifier = verifier
        self._confirm = confirm  # returns the caller with today's roles, or refuses a disabled account

    async def verified(self, request: Request) -> Caller:
        """Return the caller as the token says, which may be up to half an hour old."""
        return await self.of(request.headers.get("authorization", ""))

    async def of(self, authorization: str) -> Caller:
        """Return the caller by the value of the header `Authorization`, as `verified` does."""
        token = token_of(authorization)
        try:
            return await self._verifier.verify(token)
        except InvalidToken as refused:
            _FAILURES[refused.reason].inc()
            note("token_refused", reason=refused.reason)
            raise

    async def confirmed(self, request: Request) -> Caller:
        """Return the caller as the account is now. Raises Refusal `account_disabled`."""
        return await self._confirm(await self.verified(request), bearer_token(request))

    async def manager(self, request: Request) -> Caller:
        """Return a caller who may run campaigns. Raises Refusal `forbidden` or `account_disabled`."""
        caller = await self.confirmed(request)
        if CAMPAIGN_MANAGER not in caller.roles:
            note("access_refused", user=caller.user_id)
            raise forbidden(CAMPAIGN_MANAGER)
        return caller

    async def viewer(self, request: Request) -> Caller:
        """Return a caller who may look at campaigns and people. Raises Refusal, as `manager` does."""
        caller = await self.confirmed(request)
        if VIEWERS.isdisjoint(caller.roles):
            note("access_refused", user=caller.user_id)
            raise forbidden(f"{SUPPORT} or {CAMPAIGN_MANAGER}")
        return caller


# For OpenAPI alone: we read the header ourselves, so that refusals have our form.
_Bearer = Annotated[object, Depends(HTTPBearer(bearerFormat="JWT", auto_error=False))]
_Callers = Annotated[Callers, Depends(built(Callers))]


async def _verified(request: Request, callers: _Callers, _: _Bearer) -> Caller:
    return await callers.verified(request)


async def _confirmed(request: Request, callers: _Callers, _: _Bearer) -> Caller:
    return await callers.confirmed(request)


async def _viewer(request: Request, callers: _Callers, _: _Bearer) -> Caller:
    return await callers.viewer(request)


async def _manager(request: Request, callers: _Callers, _: _Bearer) -> Caller:
    return await callers.manager(request)


# What a route asks for: the method of Callers of the same name.
Verified = Annotated[Caller, Depends(_verified)]
Confirmed = Annotated[Caller, Depends(_confirmed)]
Viewer = Annotated[Caller, Depends(_viewer)]
Manager = Annotated[Caller, Depends(_manager)]
