"""Callers: hands a route whoever sent the request, or refuses it."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from earlybird.access.permissions import CAMPAIGN_MANAGER, Caller
from earlybird.access.verifier import TokenVerifier
from earlybird.errors import Refusal
from earlybird.infra.http.app import bearer_token, refused

Confirm = Callable[[Caller, str], Awaitable[Caller]]
Responses = dict[int | str, dict[str, Any]]

# For OpenAPI alone: the header is read and judged by us, so that refusals have our form.
BEARER = Depends(HTTPBearer(bearerFormat="JWT", auto_error=False))
UNAUTHORISED: Responses = {401: refused("no valid token (with `WWW-Authenticate`)")}
DISABLED: Responses = {403: refused("the account is disabled")}
MANAGERS_ONLY: Responses = {403: refused(f"the account is disabled, or lacks the role `{CAMPAIGN_MANAGER}`")}


class Callers:
    """Dependencies of routes; every one raises InvalidToken, or Unavailable when the token cannot be checked."""

    def __init__(self, verifier: TokenVerifier, confirm: Confirm) -> None:
        """Verify tokens offline; `confirm` gives the caller with today's roles, or refuses a disabled account."""
        self._verifier = verifier
        self._confirm = confirm

    async def verified(self, request: Request) -> Caller:
        """Give the caller as the token says, which may be up to half an hour old."""
        return await self._verifier.verify(bearer_token(request))

    async def confirmed(self, request: Request) -> Caller:
        """Give the caller as the account is now. Raises Refusal `account_disabled`."""
        token = bearer_token(request)
        return await self._confirm(await self._verifier.verify(token), token)

    async def manager(self, request: Request) -> Caller:
        """Give a caller who may run campaigns. Raises Refusal `forbidden` or `account_disabled`."""
        caller = await self.confirmed(request)
        if CAMPAIGN_MANAGER not in caller.roles:
            raise Refusal("forbidden", f"This needs the role {CAMPAIGN_MANAGER}.")
        return caller
