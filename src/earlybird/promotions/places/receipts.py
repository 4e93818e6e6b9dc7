"""A person's first login, as identity's ledger has it: asked for with their own token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2

from earlybird.access.accounts import ask_identity
from earlybird.access.permissions import CUSTOMER
from earlybird.errors import Unavailable


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
        away = Unavailable("Your place cannot be looked up right now. Try again in a moment.")

        def read(body: dict[str, Any]) -> tuple[Receipt | None, bool]:
            return _receipt(body["receipt"]), CUSTOMER not in body["roles"]

        return await ask_identity(self._http, self._url, token, read, away)


def _receipt(body: dict[str, str] | None) -> Receipt | None:
    if body is None:
        return None
    return Receipt(int(body["n"]), datetime.fromisoformat(body["first_login_at"]), body["seal"], body["jws"])
