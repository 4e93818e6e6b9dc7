"""A bulkhead: so many at once and no more, so that what is begun is also ended when there is too much to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from earlybird.errors import Unavailable


class Bulkhead:
    """Lets `at_once` in, and has others wait for `wait_seconds` at most."""

    def __init__(self, at_once: int, wait_seconds: float) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for the length of the block. Raises Unavailable `overloaded` if none gets free in time."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("There is too much to do right now. Try again in a moment.", "overloaded") from None
        try:
            yield
        finally:
            self._places.release()
