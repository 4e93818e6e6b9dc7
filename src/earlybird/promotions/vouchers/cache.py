"""The voucher cache: what GET /voucher shows, by user, in Valkey. Never the record: an outage is a miss.

The granter SETs. Readers fill where nothing is, so a slow reader never covers a newer value. Before a voucher is
spent, held or given back, its owner's entry is set to BYPASS, for longer than any reader can lag behind. Until
then readers ask the newest data, and no late SET or fill can bring a spent voucher back. Reads that come at the
same time travel together: one MGET is in flight, and the next collects the requests that arrive until then.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from typing import cast
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from earlybird.infra.tracing import traced
from earlybird.metrics import CACHE_READS, VALKEY_FAILURES
from earlybird.promotions.vouchers.model import Voucher

log = structlog.get_logger()


class Noted(Enum):
    """What the cache says of a user, apart from the voucher itself as JSON."""

    NOTHING = None  # a miss, or Valkey is away
    NO_VOUCHER = b"-"
    BYPASS = b"?"  # a change is under way: ask the newest data


_NONE, _BYPASS = Noted.NO_VOUCHER.value, Noted.BYPASS.value
_MARKS: dict[bytes | None, Noted] = {mark.value: mark for mark in Noted}
# A granter's SET, which gives way to BYPASS: the voucher may have been spent before this came.
_SET_UNLESS_BYPASSED = """
if redis.call('GET', KEYS[1]) ~= ARGV[3] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
"""
# A reader's, which covers nothing but another reader's older "none".
_SET_OVER_NONE = """
local known = redis.call('GET', KEYS[1])
if not known or known == ARGV[3] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
"""
_HITS, _MISSES, _AWAY = (CACHE_READS.labels(result) for result in ("hit", "miss", "unavailable"))
_FAILURES = VALKEY_FAILURES.labels("voucher_cache")
_BATCH = 512  # keys per MGET, at most
_PAUSE_SECONDS = 1  # after a failure readers and granters leave the cache alone, so as not to queue for it
_WRITERS = 4  # at once; others wait, for a burst of misses that used up all connections would pass for an outage


class VoucherCache:
    """Answers of GET /voucher. No method raises when Valkey is away."""

    def __init__(self, valkey: Redis, voucher_seconds: float, no_voucher_seconds: float) -> None:
        """Keep a voucher this long at most, the lack of one that long."""
        self._valkey = valkey
        self._voucher_ms = int(voucher_seconds * 1000)
        self._no_voucher_ms = int(no_voucher_seconds * 1000)
        self._waiting: list[tuple[str, asyncio.Future[bytes | None]]] = []
        self._reading: asyncio.Task[None] | None = None
        self._paused_until = -float("inf")
        self._writers = asyncio.Semaphore(_WRITERS)

    @traced("read cache")
    async def get(self, user_id: UUID) -> bytes | Noted:
        """Return the cached voucher as JSON, or what else is noted of the user."""
        if asyncio.get_running_loop().time() < self._paused_until:
            _AWAY.inc()
            return Noted.NOTHING
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_key(user_id), answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        found = await answer
        return _MARKS.get(found) or cast("bytes", found)

    async def put(self, vouchers: Sequence[Voucher], now: datetime) -> None:
        """Note vouchers just granted, over whatever is there but BYPASS."""
        async with self._writing() as pipeline:
            for voucher in vouchers:
                lifetime_ms = self._lifetime_ms(voucher, now)
                if lifetime_ms > 0:
                    arguments = (_key(voucher.user_id), voucher.to_json(), lifetime_ms, _BYPASS)
                    pipeline.eval(_SET_UNLESS_BYPASSED, 1, *arguments)

    async def fill(self, found: Mapping[UUID, Voucher | None], now: datetime) -> None:
        """Note what readers found in the database, by user, unless something was noted after that read.

        A voucher found covers a "none" that was noted meanwhile: it was read before the voucher was granted, and
        a voucher shown would vanish again for a second.
        """
        async with self._writing() as pipeline:
            for user_id, voucher in found.items():
                if voucher is None:
                    pipeline.set(_key(user_id), _NONE, px=self._no_voucher_ms, nx=True)
                elif (lifetime_ms := self._lifetime_ms(voucher, now)) > 0:
                    pipeline.eval(_SET_OVER_NONE, 1, _key(user_id), voucher.to_json(), lifetime_ms, _NONE)

    async def bypass(self, user_id: UUID, seconds: int) -> None:
        """Have readers ask the newest data for a while; called before the change that they must see.

        Tried whether or not the cache is left alone: without the mark a spent voucher is shown for minutes.
        """
        try:
            await self._valkey.set(_key(user_id), _BYPASS, ex=seconds)
        except (RedisError, OSError) as error:
            self._pause(error)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Pipeline]:
        """Send what is written in the block in one round trip, unless Valkey is away."""
        pipeline = self._valkey.pipeline(transaction=False)
        yield pipeline
        async with self._writers:
            if asyncio.get_running_loop().time() < self._paused_until:
                return
            try:
                await pipeline.execute()
            except (RedisError, OSError) as error:
                self._pause(error)

    def _lifetime_ms(self, voucher: Voucher, now: datetime) -> int:
        left_ms = int((voucher.expire_at - now).total_seconds() * 1000)  # expired is gone, also from here
        return min(self._voucher_ms, left_ms)

    async def _read_all(self) -> None:
        """Serve all who wait, a batch at a time, until nobody does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                values: list[bytes | None] = [None] * len(batch)
                try:
                    values = await self._read([key for key, _ in batch])
                finally:  # whatever happened, nobody waits for ever
                    _count(values)
                    for (_, answer), value in zip(batch, values, strict=True):
                        if not answer.done():
                            answer.set_result(value)
        finally:
            self._reading = None

    async def _read(self, keys: list[str]) -> list[bytes | None]:
        if asyncio.get_running_loop().time() < self._paused_until:
            return [None] * len(keys)
        try:
            return cast("list[bytes | None]", await self._valkey.mget(keys))
        except (RedisError, OSError) as error:
            self._pause(error)
            return [None] * len(keys)

    def _pause(self, error: Exception) -> None:
        self._paused_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        _FAILURES.inc()
        log.warning("cache_unavailable", error=type(error).__name__)


def _count(values: Sequence[bytes | None]) -> None:
    """Count a batch of looks at once: each by itself would cost a hundredth of a read."""
    misses = values.count(None)
    if misses:
        _MISSES.inc(misses)
    if misses < len(values):
        _HITS.inc(len(values) - misses)


def _key(user_id: UUID) -> str:
    return f"voucher:{user_id}"
