"""A person's first login, as identity's ledger has it: asked for with their own token."""

from dataclasses import dataclass
from datetime import datetime

import httpx2
import structlog

from earlybird.access.permissions import CUSTOMER
from earlybird.errors import InvalidToken, Unavailable, account_disabled

log = structlog.get_logger()

_TIMEOUT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Receipt:
    """A first login: its number, its time, and what identity signed."""

    n: int
    first_login_at: datetime
    seal: str  # hexadecimal
    jws: str


class Receipts:
    """identity's GET /receipt."""

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def find(self, token: str) -> tuple[Receipt | None, bool]:
        """Return the receipt of a token's owner, if there is one, and whether they are staff.

        Raises Refusal `account_disabled`, InvalidToken, and Unavailable when identity cannot be asked.
        """
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = await self._http.get(self._url, headers=headers, timeout=_TIMEOUT_SECONDS)
            if answer.status_code == 200:  # as clients of HTTP know it
                body = answer.json()
                return _receipt(body["receipt"]), CUSTOMER not in body["roles"]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("receipt_not_found", error=type(error).__name__)
            raise _unavailable() from error
        match answer.status_code:
            case 401:
                raise InvalidToken("The token is not valid any more: log in again.")
            case 403:
                raise account_disabled()
        log.warning("receipt_not_found", status=answer.status_code)
        raise _unavailable()


def _receipt(body: dict[str, str] | None) -> Receipt | None:
    if body is None:
        return None
    return Receipt(int(body["n"]), datetime.fromisoformat(body["first_login_at"]), body["seal"], body["jws"])


def _unavailable() -> Unavailable:
    return Unavailable("Your place cannot be looked up right now. Try again in a moment.")
