"""A check that many ask for and that runs once at a time."""

import asyncio
from collections.abc import Callable, Coroutine

Check = Callable[[], Coroutine[None, None, None]]


class SharedCheck:
    """One check. It runs once for all callers at a time and is never cancelled: a caller only stops waiting.

    A check that is cancelled while PyMongo looks for a primary can leave the client's lock taken for good on
    Python 3.11, where `asyncio.wait_for` may return before the lock is taken back. From then on nothing in this
    process reached MongoDB any more (seen in 2 of 8 partitions between a primary and the other members).
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._checking: asyncio.Future[None] | None = None

    async def error_within(self, seconds: float) -> BaseException | None:
        """Return what the check raised, or TimeoutError if it takes longer than this; None if it passed."""
        if self._checking is None or self._checking.done():  # never an answer of some time ago
            self._checking = asyncio.ensure_future(self._check())
        checking = self._checking
        await asyncio.wait({checking}, timeout=seconds)
        return checking.exception() if checking.done() else TimeoutError()
