"""Accounts, as identity knows them now: asked where half an hour is too old, such as when money is at stake."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import httpx2
import structlog

from earlybird.access.permissions import Caller
from earlybird.errors import InvalidToken, Unavailable, account_disabled
from earlybird.infra.tracing import trace_headers, traced

log = structlog.get_logger()
T = TypeVar("T")

_TIMEOUT_SECONDS = 2


class Accounts:
    """identity's GET /account."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def confirm(self, caller: Caller, token: str) -> Caller:
        """Return the caller with the roles of now.

        Raises Refusal `account_disabled`, InvalidToken, and Unavailable when identity cannot be asked.
        """
        away = Unavailable("Your account cannot be checked right now. Try again in a moment.")

        def read(body: dict[str, Any]) -> Caller:
            return replace(caller, roles=tuple(body["account"]["roles"]))

        return await ask_identity(self._http, self._url, token, read, away)


@traced("ask identity")
async def ask_identity(
    http: httpx2.AsyncClient, url: str, token: str, read: Callable[[dict[str, Any]], T], away: Unavailable
) -> T:
    """Ask identity with somebody's own token, and return what `read` makes of the JSON.

    Raises Refusal `account_disabled`, InvalidToken, and `away` when identity cannot be asked.
    """
    headers = {"Authorization": f"Bearer {token}", **trace_headers()}
    try:
        answer = await http.get(url, headers=headers, timeout=_TIMEOUT_SECONDS)
        if answer.status_code == 200:  # as clients of HTTP know it
            return read(answer.json())
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        log.warning("account_not_confirmed", error=type(error).__name__)
        raise away from error
    match answer.status_code:
        case 401:
            raise InvalidToken("The token is not valid any more: log in again.", "ended")
        case 403:
            raise account_disabled()
    log.warning("account_not_confirmed", status=answer.status_code)
    raise away
