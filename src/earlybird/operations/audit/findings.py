"""What an audit finds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from earlybird.errors import Failure

T = TypeVar("T")
_POLL_SECONDS = 0.1


class Difference(Failure):
    """What was found is not what must be; the message says where they first differ."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was checked and holds."""

    subject: str
    statement: str


Report = Callable[[Proof], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """How far the first logins are, as of the audit's moment."""

    last: int  # entry of the ledger
    cursor: int  # the last one that the granter has processed


async def until_none(ask: Callable[[], Awaitable[T | None]], wait_seconds: float) -> T | None:
    """Ask again until the answer is None or the wait is over; return the last answer."""
    deadline = time.monotonic() + wait_seconds
    while True:
        answer = await ask()
        if answer is None or time.monotonic() > deadline:
            return answer
        await asyncio.sleep(_POLL_SECONDS)
