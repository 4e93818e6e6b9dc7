"""Passwords: Argon2id in a bounded pool of threads, behind a short queue.

A login costs one hash (about 25 ms of one core), so this is where load is refused, at once and before any
database work, rather than left to pile up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from timeit import repeat
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from earlybird.errors import ClientLeft, Unavailable
from earlybird.infra.tracing import traced
from earlybird.metrics import HASH_CAPACITY, HASH_SECONDS, HASH_SLOTS, HASHES_ADMITTED

T = TypeVar("T")
ClientLeaves = Callable[[], Awaitable[None]]  # returns when nobody waits for the answer any more
_MEASURED = 2
_SMOOTHING = 0.05  # weight of the newest hash in the running mean of how long one takes


def overloaded() -> Unavailable:
    """Return the refusal of a login that comes while the queue is full."""
    return Unavailable("Too many people are logging in. Try again in a moment.", "overloaded")


class Passwords:
    """Hashes and verifies. Memory is bounded by slots × memory per hash; the wait by the queue.

    A client that leaves while it waits for a slot gets ClientLeft, and no hash is made.
    """

    def __init__(self, *, memory_kib: int, iterations: int, slots: int, queue_seconds: float) -> None:
        """Measure hashes now, to know how many fit into the queue."""
        self._hasher = PasswordHasher(time_cost=iterations, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="argon2")
        self._slots = slots
        self._queue_seconds = queue_seconds
        self._admitted = 0
        self._nobodys_hash = self._hasher.hash("nobody's password")
        # The fastest of some: what else starts now only makes them slower, and is over soon.
        self._hash_seconds = min(repeat(lambda: self._hasher.hash("anything"), number=1, repeat=_MEASURED))
        HASH_SLOTS.set(slots)
        HASH_CAPACITY.set(self.capacity)

    def close(self) -> None:
        """Let running hashes end and start no more."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def capacity(self) -> int:
        """Requests let in at once: those being hashed, and those that get a slot within `queue_seconds`.

        At least one request may wait for each slot, even if a hash takes longer than `queue_seconds`.
        """
        return self._slots + max(self._slots, int(self._queue_seconds * self._slots / self._hash_seconds))

    def is_full(self) -> bool:
        """Tell whether `admit` would refuse."""
        return self._admitted >= self.capacity

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Let one request in that will hash once. Raises Unavailable when the queue is full."""
        if self.is_full():
            raise overloaded()
        self._admitted += 1
        HASHES_ADMITTED.inc()
        try:
            yield
        finally:
            self._admitted -= 1
            HASHES_ADMITTED.dec()

    async def hash(self, password: str, client_leaves: ClientLeaves) -> str:
        """Return the Argon2id string of a password."""
        return await self._run(lambda: self._hasher.hash(password), client_leaves)

    @traced("verify password")
    async def verify(self, password: str, password_hash: str | None, client_leaves: ClientLeaves) -> bool:
        """Tell whether the password fits. With no hash (no such user) the same work is done, for nothing."""
        expected = password_hash or self._nobodys_hash

        def verify() -> bool:
            try:
                return self._hasher.verify(expected, password)
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(verify, client_leaves) and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than those of now."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _run(self, work: Callable[[], T], client_leaves: ClientLeaves) -> T:
        def timed() -> tuple[T, float]:
            started = time.perf_counter()
            return work(), time.perf_counter() - started

        job = self._pool.submit(timed)
        hashing, leaving = asyncio.wrap_future(job), asyncio.ensure_future(client_leaves())
        either: tuple[asyncio.Future[Any], ...] = (hashing, leaving)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not hashing.done() and job.cancel():  # which a hash that runs refuses: that one is awaited
                raise ClientLeft
            result, seconds = await hashing
        finally:
            leaving.cancel()
        HASH_SECONDS.observe(seconds)
        HASH_CAPACITY.set(self.capacity)
        self._hash_seconds += _SMOOTHING * (seconds - self._hash_seconds)
        return result
