"""MongoDB as far as the promise rests on it: writes in one order, known to be lasting once a majority has them.

A failover may lose what no majority has; whoever waits for it learns nothing. A write is one function of the
state, as a transaction is: its checks and its effects are of one moment.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from pymongo.errors import AutoReconnect

from earlybird.events import FirstLogin
from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.promotions.vouchers.model import Voucher
from simulation.loop import Arrival, simulated_loop

LATE_SECONDS = 0.5  # what arrives after its sender gave up arrives within this
_OUTDATED = 0.3  # of all reads, while a member is isolated
_DATED_BEFORE_SECONDS = 0.005
_DELIVERED_AGAIN = 0.1  # of all change streams
_LATE = 0.5  # of what gets lost, or whose sender dies
NUMBER = 3  # of vouchers
START = datetime(2026, 11, 1, tzinfo=UTC)
T = TypeVar("T")
Write = Callable[["State", datetime], T]
Place = tuple[int, float]  # in the change stream, and when it was given: the oplog forgets by age


@dataclass(slots=True)
class State:
    """Everything that is stored, of both services."""

    first_login_at: dict[UUID, datetime | None]
    changes: list[FirstLoginCommitted] = field(default_factory=list)  # the change stream of users
    ledger: list[FirstLogin] = field(default_factory=list)
    seals: list[bytes] = field(default_factory=list)  # of the ledger's entries
    head_n: int = 0
    head_place: Place = (0, 0.0)
    cursor: int = 0
    number: int = NUMBER
    remaining: int = NUMBER
    reread_n: int | None = None  # positions were added: those after this entry are processed once more
    vouchers: list[Voucher] = field(default_factory=list)
    withdrawn: dict[UUID, int] = field(default_factory=dict)  # positions, by whose they were
    replaced: list[int] = field(default_factory=list)  # positions that others make up for

    def copy(self) -> "State":
        return replace(
            self,
            first_login_at=dict(self.first_login_at),
            changes=list(self.changes),
            ledger=list(self.ledger),
            seals=list(self.seals),
            vouchers=list(self.vouchers),
            withdrawn=dict(self.withdrawn),
            replaced=list(self.replaced),
        )


class Process:
    """One process as the servers see it: it may be slow, paused or dead, and its messages may be lost or late."""

    def __init__(self, rng: random.Random, name: str, loss: float) -> None:
        self._rng = rng
        self._loop = simulated_loop()
        self.name = name
        self.loss = loss
        self.paused_until = 0.0

    def travel_seconds(self) -> float:
        """Give how long the next message takes: mostly about a millisecond, now and then very long."""
        drawn = self._rng.random()
        seconds = 0.002 * drawn if drawn < 0.97 else 6 * (drawn - 0.97)
        paused = self.paused_until - self._loop.time()
        return seconds + paused if paused > 0 else seconds

    def travel(self, lost: type[Exception] = AutoReconnect) -> Arrival:
        """Carry one message, of a request or of an answer. The future fails by `lost` when it gets lost."""
        return self._loop.arrival(self.travel_seconds(), lost if self.loses() else None)

    def loses(self, times: int = 1) -> bool:
        """Say whether the next message gets lost, of those that get lost so many times as often as others."""
        return self.loss > 0 and self._rng.random() < self.loss * times

    async def request(
        self, what: str, effect: Callable[[], T], lost: type[Exception], way: Arrival | None = None
    ) -> T:
        """Carry a request to a server and have its effect there: perhaps after its sender gave up, or died."""
        try:
            await (way or self.travel(lost))
        except (lost, asyncio.CancelledError):
            if self._rng.random() < _LATE:
                late = self._loop.arrival(LATE_SECONDS * self._rng.random())
                late.add_done_callback(lambda _: self._have_late(what, effect))
            raise
        return self._have(what, effect)

    def _have(self, what: str, effect: Callable[[], T]) -> T:
        try:
            result = effect()
        except Exception as refusal:
            self._loop.note(self.name, what, type(refusal).__name__)
            raise
        self._loop.note(self.name, what)
        return result

    def _have_late(self, what: str, effect: Callable[[], T]) -> None:
        with suppress(Exception):  # nobody hears of a refusal; what is violated is told elsewhere
            self._have(what + ", late", effect)


class Mongo:
    """A replica set: what its primary has, and what a majority has."""

    def __init__(self, rng: random.Random, users: list[UUID], committed: Callable[[], None]) -> None:
        """Call `committed` whenever a majority has more."""
        self._rng = rng
        self._loop = simulated_loop()
        self._committed = committed
        self.majority = State(dict.fromkeys(users))
        self.primary = self.majority.copy()
        self._pending: list[tuple[Write[Any], datetime, asyncio.Future[None]]] = []
        self.forgotten_until = -1.0  # places in the change stream that were given by then are forgotten
        self.outdated: State | None = None  # what an isolated member has
        self.reconciled = 0  # changes that were known when the order was lost: those go by their time
        self._watchers: list[asyncio.Future[None]] = []

    async def write(self, process: Process, write: Write[T]) -> T:
        """Write at majority. Raises what `write` raises, having changed nothing, or AutoReconnect: unknown."""
        sent_at = self._loop.time()
        result, has_majority = await process.request(
            write.__qualname__, lambda: self._apply(write, sent_at), AutoReconnect
        )
        await has_majority
        await process.travel()
        return result

    async def read(self, process: Process, read: Callable[[State], T], *, newest: bool = False) -> T:
        """Read at majority: what a majority had once, unless the newest is asked for."""
        await process.travel()
        self._loop.note(process.name, read.__qualname__)
        is_old = self.outdated is not None and not newest and self._rng.random() < _OUTDATED
        result = read(self.outdated if is_old and self.outdated else self.majority)
        await process.travel()
        return result

    def fail_over(self) -> None:
        """Replace the primary: some of what no majority has is lost, and no writer hears of any of it."""
        kept = self._rng.randint(0, len(self._pending))
        lost = [future for _, _, future in self._pending]
        self._commit(kept, tell=False)
        self._pending.clear()
        self.primary = self.majority.copy()
        for future in lost:
            if not future.done():
                future.set_exception(AutoReconnect())
                future.exception()  # perhaps nobody waits any more

    def isolate(self) -> None:
        """Have a member hear of nothing new, and answer all the same: one that takes itself for the primary."""
        self.outdated = self.majority.copy()

    def begin_watch(self, place: int) -> int:
        """Give where a change stream begins: now and then earlier, so that changes are delivered again."""
        return place - self._rng.randint(0, min(place, 2)) if self._rng.random() < _DELIVERED_AGAIN else place

    async def until_changed(self, place: int, seconds: float) -> None:
        """Wait until the change stream has something at a place, for so long at most."""
        if len(self.majority.changes) <= place:
            changed: asyncio.Future[None] = self._loop.create_future()
            self._watchers.append(changed)
            timer = self._loop.call_later(seconds, settle, changed)
            try:
                await changed
            finally:
                timer.cancel()

    def _apply(self, write: Write[T], sent_at: float) -> tuple[T, asyncio.Future[None]]:
        """Write on the primary. What it is dated by is read a little before, so dates may contradict the order."""
        dated_at = max(sent_at, self._loop.time() - _DATED_BEFORE_SECONDS * self._rng.random())
        now = START + timedelta(milliseconds=int(1000 * dated_at))  # as exact as MongoDB's dates
        result = write(self.primary, now)
        has_majority: asyncio.Future[None] = self._loop.create_future()
        self._pending.append((write, now, has_majority))
        drawn = self._rng.random()
        replicated = self._loop.arrival(0.003 * drawn if drawn < 0.9 else drawn - 0.9)
        replicated.add_done_callback(lambda _: self._replicate(has_majority))
        return result, has_majority

    def _replicate(self, future: asyncio.Future[None]) -> None:
        """Have a majority get everything up to this write."""
        for i, (_, _, waiting) in enumerate(self._pending):
            if waiting is future:
                self._commit(i + 1, tell=True)
                return

    def _commit(self, count: int, *, tell: bool) -> None:
        if not count:
            return
        before = len(self.majority.changes)
        for write, now, future in self._pending[:count]:
            write(self.majority, now)
            if tell:
                settle(future)
        del self._pending[:count]
        if len(self.majority.changes) > before:
            for watcher in self._watchers:
                settle(watcher)
            self._watchers.clear()
        self._committed()


def settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
