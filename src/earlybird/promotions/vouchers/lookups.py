"""Looking vouchers up in the database for those whom the cache does not know: many in one query.

Whoever has no voucher is looked up once a second, for longer the cache does not remember it. By itself a lookup
costs ten reads. So one query is under way at a time, and a new one begins at most every few milliseconds, for all
who have come until then. The first after a pause does not wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from earlybird.infra.tracing import traced
from earlybird.promotions.vouchers.model import Voucher

FindMany = Callable[[Sequence[UUID]], Awaitable[dict[UUID, Voucher]]]
_APART_SECONDS = 0.005  # one query from the next
_MOST = 200  # users in one query


class Lookups:
    """Lookups that travel together."""

    def __init__(self, find: FindMany) -> None:
        """`find` looks up many at once."""
        self._find = find
        self._waiting: list[tuple[UUID, asyncio.Future[Voucher | None]]] = []
        self._looking: asyncio.Task[None] | None = None
        self._next_at = -float("inf")

    @traced("find voucher")
    async def find(self, user_id: UUID) -> Voucher | None:
        """Return what a query that begins after this call finds. Raises what the query raises."""
        found: asyncio.Future[Voucher | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((user_id, found))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await found

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._waiting:
                pause = self._next_at - clock()
                if pause > 0:
                    await asyncio.sleep(pause)
                self._next_at = clock() + _APART_SECONDS
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._answer(batch)
        finally:
            self._looking = None

    async def _answer(self, batch: Sequence[tuple[UUID, asyncio.Future[Voucher | None]]]) -> None:
        """Answer all of a batch, whatever happens: nobody waits for ever."""
        vouchers: dict[UUID, Voucher] = {}
        failure: BaseException | None = asyncio.CancelledError()
        try:
            vouchers, failure = await self._find([user_id for user_id, _ in batch]), None
        except Exception as error:  # noqa: BLE001  # each of those who wait raises it
            failure = error
        finally:
            for user_id, answer in batch:
                if answer.done():
                    continue
                if failure is None:
                    answer.set_result(vouchers.get(user_id))
                elif isinstance(failure, asyncio.CancelledError):
                    answer.cancel()
                else:
                    answer.set_exception(failure)
