"""One history: people log in and look for vouchers while processes and servers fail; then all comes to rest."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from pymongo.errors import PyMongoError

from earlybird.errors import Refusal
from earlybird.identity.relay import Relay
from earlybird.identity.sequencer import Sequencer
from earlybird.promotions.granter import Granter
from earlybird.promotions.service import Promotions
from earlybird.promotions.voucher_cache import VoucherCache
from simulation.broker import SimulatedJetStream, SimulatedValkey, Stream
from simulation.invariants import Invariants
from simulation.loop import SimulatedLoop, simulated_loop
from simulation.mongo import Mongo, Process
from simulation.stores import SimulatedLedger, SimulatedUsers, SimulatedVouchers

MOST_USERS = 6
REST_WITHIN_SECONDS = 60.0
_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """What a history is made of; a mutant replaces one of them."""

    mongo: type[Mongo] = Mongo
    ledger: type[SimulatedLedger] = SimulatedLedger
    users: type[SimulatedUsers] = SimulatedUsers
    vouchers: type[SimulatedVouchers] = SimulatedVouchers
    stream: type[Stream] = Stream
    valkey: type[SimulatedValkey] = SimulatedValkey
    granter: type[Granter] = Granter


class History:
    """A world, what runs in it, and what happens to it."""

    def __init__(self, seed: int, parts: Parts, trace: list[str]) -> None:
        self.rng = random.Random(seed)
        self._loop = simulated_loop()
        self._parts = parts
        self.trace = trace
        self._users = [UUID(int=i) for i in range(1, self.rng.randint(2, MOST_USERS) + 1)]
        self.mongo = parts.mongo(self.rng, self._users, self._committed)
        self.stream = parts.stream(self._stored)
        self._invariants = Invariants(self.mongo, self.stream)
        self.cached: dict[str, bytes] = {}
        self._loss = self.rng.choice([0, 0, 0.02, 0.1])
        # What is lost on the way to the cache, or evicted, lets a slow reader's "none" in: it lives for a second.
        self._cache_is_whole = not self._loss
        self._tasks: set[asyncio.Task[None]] = set()
        self._processes: list[tuple[Process, list[asyncio.Task[None]]]] = []
        self._broken: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Raise AssertionError at the first violation, Deadlock if everybody waits for ever."""
        self._starts = [self._start_relay] * self.rng.choice([1, 1, 2]) + [self._start_granter] * self.rng.choice(
            [1, 1, 2]
        )
        for start in self._starts:
            start()
        people = [self._spawn(self._live(user)) for user in self._users]
        life = self._spawn(self._fail_and_rest(people))
        try:
            await asyncio.wait({life, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            for task in (self._broken, life):
                if task.done():
                    task.result()
        finally:
            self._broken.cancel()
            await self._end()

    async def _fail_and_rest(self, people: list[asyncio.Task[None]]) -> None:
        for _ in range(self.rng.randint(0, _FAULTS)):
            await self._loop.arrival(0.03 * self.rng.random())
            self._fail()
        for process, _ in self._processes:
            process.loss = 0
        try:
            async with asyncio.timeout(REST_WITHIN_SECONDS):
                await asyncio.gather(*people)
                while not self._invariants.complete(len(self._users)):
                    await self._loop.arrival(0.25)
        except TimeoutError:
            raise AssertionError(f"not complete after {REST_WITHIN_SECONDS:.0f} s without a fault") from None
        self._invariants.check_at_rest()

    def _fail(self) -> None:
        """Have one thing go wrong."""
        i, now = self.rng.randrange(len(self._starts)), self._loop.time()
        fault = self.rng.choice(["crash", "crash", "pause", "fail over", "lose", "roll back", "forget", "evict"])
        self.trace.append(f"{now:.4f} {fault} {i}")
        match fault:
            case "crash":
                self._crash(i)
            case "pause":
                self._processes[i][0].paused_until = now + self.rng.random()
            case "fail over":
                self.mongo.fail_over()
            case "lose":
                self.stream.lose()
            case "roll back":
                self.stream.roll_back(self.rng.randint(0, len(self._users)))
            case "forget":
                self._forget()
            case "evict":
                self.cached.clear()
                self._cache_is_whole = False

    def _forget(self) -> None:
        """Have the oplog forget where the ledger ends, while no relay runs."""
        self.mongo.forgotten_until = self._loop.time()
        self._invariants.order_is_lost = True
        for i, start in enumerate(self._starts):
            if start == self._start_relay:
                self._crash(i)

    def _crash(self, i: int) -> None:
        process, tasks = self._processes[i]
        process.is_alive = False
        for task in tasks:
            task.cancel()
        self._starts[i]()
        self._processes[i] = self._processes.pop()

    def _start_relay(self) -> None:
        process, appended = Process(self.rng, self._loss), asyncio.Event()
        ledger = cast("Any", self._parts.ledger(self.mongo, process))
        jetstream = cast("Any", SimulatedJetStream(self.stream, process))
        self._start(process, Sequencer(ledger, appended).run(), Relay(ledger, jetstream, 1, appended).run())

    def _start_granter(self) -> None:
        process = Process(self.rng, self._loss)
        jetstream = cast("Any", SimulatedJetStream(self.stream, process))
        vouchers = cast("Any", self._parts.vouchers(self.mongo, process))
        self._start(process, self._parts.granter(jetstream, vouchers, self._cache(process)).run())

    def _start(self, process: Process, *workers: Coroutine[Any, Any, None]) -> None:
        self._processes.append((process, [self._spawn(worker) for worker in workers]))

    def _cache(self, process: Process) -> VoucherCache:
        return VoucherCache(cast("Any", self._parts.valkey(self.cached, process)), 300, 1)

    async def _live(self, user: UUID) -> None:
        """Log in for the first time, once more, and look for the voucher from time to time."""
        process, now = Process(self.rng, self._loss), self._loop.time
        users = self._parts.users(self.mongo, process)
        reading = cast("Any", self._parts.vouchers(self.mongo, process))
        promotions = Promotions(reading, cast("Any", None), self._cache(process))
        await self._loop.arrival(0.1 * self.rng.random())
        self._invariants.login_started(user, now())
        for _ in range(self.rng.choice([1, 1, 2])):
            while True:
                with suppress(PyMongoError):
                    await users.mark_first_login(user)
                    break
            self._invariants.login_acknowledged(user, now())
        for _ in range(self.rng.randint(0, 2)):
            await asyncio.gather(*(self._spawn(self._look(promotions, user)) for _ in range(2)))

    async def _look(self, promotions: Promotions, user: UUID) -> None:
        await self._loop.arrival(0.03 * self.rng.random())
        must_be_shown = self._invariants.shown(user)
        try:
            await promotions.current_voucher(user)
        except Refusal:
            hidden = must_be_shown and self._cache_is_whole
            assert not hidden, f"the voucher of {user.int} was shown, and then hidden"
        except PyMongoError:
            return
        else:
            self._invariants.was_shown(user)

    def _committed(self) -> None:
        self._check(self._invariants.check_committed)

    def _stored(self, count: int) -> None:
        self._check(lambda: self._invariants.check_stored(count))

    def _check(self, check: Callable[[], None]) -> None:
        """Check in the middle of an operation of the model: what is violated ends the history, not the worker."""
        try:
            check()
        except AssertionError as error:
            if not self._broken.done():
                self._broken.set_exception(error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self) -> None:
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a history went: its faults, how many messages were sent, how long it took in its own time."""

    trace: list[str]
    steps: int
    seconds: float


def simulate(seed: int, parts: Parts = Parts()) -> Outcome:  # frozen
    """Run the history of this seed. Raises AssertionError at the first violation; its notes are the trace."""
    loop = SimulatedLoop()
    trace: list[str] = []

    async def live() -> None:
        history = History(seed, parts, trace)
        await history.run()

    try:
        loop.run_until_complete(live())
    except Exception as error:
        error.add_note(f"seed {seed}: {'; '.join(trace)}")
        raise
    finally:
        loop.close()
    return Outcome(trace, loop.sent, loop.time())
