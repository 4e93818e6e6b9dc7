"""Guesses at passwords, counted in Valkey before each hash. While Valkey is away, each process counts by itself.

A guess is counted as a failure before the password is looked at, in one step that no other guess can come between.
Success takes the count back. So parallel guesses cannot slip through: each is counted, or refused with a wait.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from earlybird.identity.throttle.model import (
    FREE_FAILURES,
    LONGEST_WAIT_SECONDS,
    REMEMBERED_SECONDS,
    Bucket,
    too_many,
    wait_seconds,
)
from earlybird.infra.security_log import note
from earlybird.infra.tracing import traced
from earlybird.metrics import THROTTLED, VALKEY_FAILURES

log = structlog.get_logger()
T = TypeVar("T")

_FAILED_LOGINS = "failed-logins"
# From the start, so that the first of each is seen as a change.
for _limit in ("guesses", _FAILED_LOGINS, "registrations", "confirmations", "codes"):
    THROTTLED.labels(_limit)
_FAILURES = VALKEY_FAILURES.labels("throttle")
_PAUSE_SECONDS = 1  # after a failure, Valkey is left alone for this time
_LOCAL_BUCKETS = 100_000  # at most; the oldest is dropped. About 20 MB
_LONGEST_DEBT, _PAID_AT_ONCE = 100_000, 500  # counts that are still to be taken back from Valkey
# The same rule as `model.wait_seconds`; a test holds the two together. Times are Valkey's own, in milliseconds.
_COUNT = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'failures', 'next')
local failures, next_at = tonumber(known[1] or 0), tonumber(known[2] or 0)
if now < next_at then return {{failures, next_at - now}} end
failures = failures + 1
local beyond = failures - {FREE_FAILURES}
local wait = 0
if beyond >= 0 then wait = math.min(2 ^ math.min(beyond, 10), {LONGEST_WAIT_SECONDS}) end
redis.call('HSET', KEYS[1], 'failures', failures, 'next', now + wait * 1000)
redis.call('EXPIRE', KEYS[1], {REMEMBERED_SECONDS})
return {{failures, 0}}
"""


class Throttle:
    """Counts guesses, registrations and codes. No method raises when Valkey is away."""

    def __init__(self, valkey: Redis, failures: RateLimitItem, registrations: RateLimitItem) -> None:
        """Allow each source so many failed logins, and so many registrations."""
        self._valkey = valkey
        self._count = valkey.register_script(_COUNT)
        self._failures, self._registrations = failures, registrations
        pool: Any = valkey.connection_pool
        shared = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        self._shared, self._own = FixedWindowRateLimiter(shared), FixedWindowRateLimiter(MemoryStorage())
        self._local: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._owed: set[str] = set()  # keys of counts that proved right while Valkey did not answer
        self._paused_until = -float("inf")

    @traced("count guess")
    async def count_guess(self, bucket: Bucket, source: str | None) -> int:
        """Count a guess as a failure, and return how many failures in a row that makes.

        Raises Refusal `too_many_attempts` if it came too soon, or if its source has failed too often.
        """
        if source is not None:
            await self._hit(self._failures, _FAILED_LOGINS, source)

        async def count() -> tuple[int, float]:
            failures, wait_ms = await self._count(keys=[bucket.key])
            return int(failures), wait_ms / 1000

        failures, wait = await self._either(count, lambda: self._count_locally(bucket.key))
        if wait > 0:
            THROTTLED.labels("guesses").inc()
            note("throttled", what="guesses")
            raise too_many("guesses", FREE_FAILURES, wait)
        return failures

    async def forget(self, bucket: Bucket, source: str | None) -> None:
        """Take back what `count_guess` counted: the password was right."""

        async def forget() -> None:
            async with self._valkey.pipeline(transaction=False) as pipeline:
                pipeline.delete(bucket.key)
                for key in self.failure_keys(source):
                    pipeline.decr(key)
                await pipeline.execute()

        await self._either(forget, lambda: self.forget_locally(bucket, source))

    async def forget_locally(self, bucket: Bucket, source: str | None) -> None:
        """Take back what this process counted by itself, and what Valkey counted as soon as it answers again."""
        self._local.pop(bucket.key, None)
        if len(self._owed) < _LONGEST_DEBT:
            self._owed.add(bucket.key)
        if source is not None:
            key = self._failures.key_for(_FAILED_LOGINS, source)
            await self._own.storage.incr(key, self._failures.get_expiry(), amount=-1)

    def failure_keys(self, source: str | None) -> list[str]:
        """Return the key in Valkey that counts the failed logins of a source, if it is counted."""
        return [] if source is None else [f"LIMITS:{self._failures.key_for(_FAILED_LOGINS, source)}"]

    async def count_registration(self, source: str | None) -> None:
        """Count a registration. Raises Refusal `too_many_attempts` if its source has made too many."""
        if source is not None:
            await self._hit(self._registrations, "registrations", source)

    async def count_failure(self, source: str | None) -> None:
        """Count a guess at a code as a failed login of its source. Raises Refusal `too_many_attempts`."""
        if source is not None:
            await self._hit(self._failures, _FAILED_LOGINS, source)

    async def count(self, what: str, whose: str, *limits: RateLimitItem) -> None:
        """Count something of somebody, who is known by a digest. Raises Refusal `too_many_attempts`."""
        digest = hashlib.sha256(whose.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        for limit in limits:
            await self._hit(limit, what, digest)

    async def _hit(self, limit: RateLimitItem, what: str, source: str) -> None:
        async def hit(limiter: FixedWindowRateLimiter) -> float:
            if await limiter.hit(limit, what, source):
                return 0
            return (await limiter.get_window_stats(limit, what, source)).reset_time - time.time()

        wait = await self._either(lambda: hit(self._shared), lambda: hit(self._own))
        if wait > 0:
            THROTTLED.labels(what).inc()
            note("throttled", what=what)
            raise too_many(what, limit.amount, wait)

    async def _count_locally(self, key: str) -> tuple[int, float]:
        now = time.monotonic()
        failures, next_at = self._local.pop(key, (0, now))
        if now >= next_at:
            failures += 1
            next_at, wait = now + wait_seconds(failures), 0.0
        else:
            wait = next_at - now
        self._local[key] = failures, next_at
        if len(self._local) > _LOCAL_BUCKETS:
            self._local.popitem(last=False)
        return failures, wait

    async def _either(self, shared: Callable[[], Awaitable[T]], own: Callable[[], Awaitable[T]]) -> T:
        """Do something in Valkey, or in this process while Valkey is away."""
        if asyncio.get_running_loop().time() >= self._paused_until:
            try:
                if self._owed:
                    await self._pay()
                return await shared()
            except (RedisError, OSError, TimeoutError) as error:
                self._paused_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
                _FAILURES.inc()
                log.warning("throttle_local", error=type(error).__name__)
        return await own()

    async def _pay(self) -> None:
        """Take back some of the counts that are owed, before anything new is counted."""
        keys = list(self._owed)[:_PAID_AT_ONCE]
        await self._valkey.delete(*keys)
        self._owed.difference_update(keys)


def per_source(amount: int, seconds: int) -> RateLimitItem:
    """Return a limit of so many events in so many seconds."""
    return RateLimitItemPerSecond(amount, seconds)
