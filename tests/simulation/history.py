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
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.promotions.granting.caretaker import Caretaker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.withdrawals.model import Wanted
from earlybird.promotions.withdrawals.service import Withdrawals
from simulation.broker import SimulatedJetStream, SimulatedValkey, Stream
from simulation.invariants import Invariants
from simulation.loop import SimulatedLoop, simulated_loop
from simulation.mongo import LATE_SECONDS, Mongo, Process
from simulation.people import Person, sees_voucher
from simulation.stores import (
    CAMPAIGN,
    SimulatedCampaigns,
    SimulatedLedger,
    SimulatedUsers,
    SimulatedVouchers,
    SimulatedWithdrawals,
)

MOST_USERS = 6
REST_WITHIN_SECONDS = 60.0
_MOST_FAULTS = 5
_FAULTS = ["crash", "crash", "pause", "fail over", "isolate", "lose", "roll back", "forget", "evict"]
_NO_VOUCHER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Parts:
    """What a history is made of; a mutant replaces one of them, and may want more of what shows it."""

    mongo: type[Mongo] = Mongo
    ledger: type[SimulatedLedger] = SimulatedLedger
    users: type[SimulatedUsers] = SimulatedUsers
    vouchers: type[SimulatedVouchers] = SimulatedVouchers
    stream: type[Stream] = Stream
    valkey: type[SimulatedValkey] = SimulatedValkey
    granter: type[Granter] = Granter
    jetstream: type[SimulatedJetStream] = SimulatedJetStream
    cache: type[VoucherCache] = VoucherCache
    campaigns: type[SimulatedCampaigns] = SimulatedCampaigns
    watching: float = 0.25  # of all users look for their voucher
    withdrawals: type[SimulatedWithdrawals] = SimulatedWithdrawals
    raises: float = 0.3  # of all histories raise N, once or twice
    withdrawing: float = 0.3  # of all histories withdraw a voucher, or two
    losses: tuple[float, ...] = (0, 0, 0.02, 0.1)  # of all messages


class History:
    """A world, what runs in it, and what happens to it."""

    def __init__(self, seed: int, parts: Parts) -> None:
        self.rng = random.Random(seed)
        self._loop = simulated_loop()
        self._parts = parts
        self._users = [UUID(int=i) for i in range(1, self.rng.randint(2, MOST_USERS) + 1)]
        self.mongo = parts.mongo(self.rng, self._users, self._committed)
        self.stream = parts.stream(self._stored)
        self._invariants = Invariants(self.mongo, self.stream)
        self.cached: dict[str, bytes] = {}
        self._pace = self.rng.choice([0.01, 0.03, 0.3])
        self._loss = self.rng.choice(parts.losses)
        self._raises = self.rng.choice([1, 2]) if self.rng.random() < parts.raises else 0
        by_itself = random.Random(f"withdrawals of {seed}")  # so that other histories stay as they are
        self._withdrawals = by_itself.choice([1, 2]) if by_itself.random() < parts.withdrawing else 0
        self._invariants.cache_is_whole = not self._loss
        self._everybody: list[Process] = []
        self._processes: list[tuple[Process, list[asyncio.Task[None]]]] = []
        self._broken: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Raise AssertionError at the first violation, Deadlock if everybody waits for ever."""
        relays, granters = self.rng.choice([1, 1, 2]), self.rng.choice([1, 1, 2])
        self._starts = [self._start_relay] * relays + [self._start_granter] * granters
        for start in self._starts:
            start()
        people = [self._loop.create_task(self._live(user)) for user in self._users]
        managers = [self._loop.create_task(self._raise_number()) for _ in range(self._raises)]
        managers += [self._loop.create_task(self._withdraw()) for _ in range(self._withdrawals)]
        life = self._loop.create_task(self._fail_and_rest(people + managers))
        try:
            await asyncio.wait({life, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            for task in (self._broken, life):
                if task.done():
                    task.result()
        finally:
            self._broken.cancel()
            await self._end()

    async def _fail_and_rest(self, people: list[asyncio.Task[None]]) -> None:
        for _ in range(self.rng.randint(0, _MOST_FAULTS)):
            await self._loop.arrival(self._pace * self.rng.random())
            self._fail()
        await self._loop.arrival(self._pace * self.rng.random())
        for process in self._everybody:
            process.loss = 0
        self.mongo.outdated = None
        try:
            async with asyncio.timeout(REST_WITHIN_SECONDS):
                await asyncio.gather(*people)
                await self._loop.arrival(LATE_SECONDS)  # a raise whose sender gave up may come yet
                while not self._invariants.complete(len(self._users)):
                    await self._loop.arrival(0.25)
        except TimeoutError:
            raise AssertionError(f"not complete after {REST_WITHIN_SECONDS:.0f} s without a fault") from None
        await self._check_at_rest()

    async def _check_at_rest(self) -> None:
        """Check what is stored and what is shown, when nothing is under way any more."""
        for _, tasks in self._processes:
            for task in tasks:
                task.cancel()
        await self._loop.arrival(LATE_SECONDS + _NO_VOUCHER_SECONDS)
        self._invariants.check_at_rest()
        process = Process(self.rng, "visitor", 0)
        promotions = self._vouchers(process)
        seen = await asyncio.gather(*(sees_voucher(promotions, user) for user in self._users))
        self._invariants.check_seen({user for user, sees in zip(self._users, seen, strict=True) if sees})

    def _fail(self) -> None:
        """Have one thing go wrong."""
        i, now = self.rng.randrange(len(self._starts)), self._loop.time()
        fault = self.rng.choice(_FAULTS)
        self._loop.note("fault", fault, str(i))
        match fault:
            case "crash":
                self._crash(i)
            case "pause":
                self._processes[i][0].paused_until = now + self.rng.random()
            case "isolate":
                self.mongo.isolate()
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
                self._invariants.cache_is_whole = False

    def _forget(self) -> None:
        """Have the oplog forget where the ledger ends, while no relay runs."""
        self.mongo.forgotten_until = self._loop.time()
        for i, start in enumerate(self._starts):
            if start == self._start_relay:
                self._crash(i)

    def _crash(self, i: int) -> None:
        for task in self._processes[i][1]:
            task.cancel()
        self._starts[i]()
        self._processes[i] = self._processes.pop()

    def _process(self, name: str) -> Process:
        process = Process(self.rng, name, self._loss)
        self._everybody.append(process)
        return process

    def _start_relay(self) -> None:
        process, appended = self._process("relay"), asyncio.Event()
        ledger = cast("Any", self._parts.ledger(self.mongo, process))
        jetstream = cast("Any", self._parts.jetstream(self.stream, process))
        self._start(process, Sequencer(ledger, appended).run(), Relay(ledger, jetstream, 1, appended).run())

    def _start_granter(self) -> None:
        process = self._process("granter")
        jetstream = cast("Any", self._parts.jetstream(self.stream, process))
        vouchers = cast("Any", self._parts.vouchers(self.mongo, process))
        workers = [self._parts.granter(jetstream, vouchers, self._cache(process)).run()]
        if self._raises or self._withdrawals:
            campaigns = cast("Any", self._parts.campaigns(self.mongo, process))
            workers.append(Caretaker(jetstream, campaigns, vouchers, self._cache(process)).run())
        self._start(process, *workers)

    def _start(self, process: Process, *workers: Coroutine[Any, Any, None]) -> None:
        tasks = [self._loop.create_task(worker) for worker in workers]
        for task in tasks:
            task.add_done_callback(self._ended)
        self._processes.append((process, tasks))

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """See that no worker ends by itself: its twin would do the work, and nobody notice."""
        if not worker.cancelled() and not self._broken.done():
            self._broken.set_exception(AssertionError(f"a worker ended: {worker.exception()!r}"))

    def _cache(self, process: Process) -> VoucherCache:
        return self._parts.cache(cast("Any", self._parts.valkey(self.cached, process)), 300, _NO_VOUCHER_SECONDS)

    def _vouchers(self, process: Process) -> Vouchers:
        vouchers = cast("Any", self._parts.vouchers(self.mongo, process))
        return Vouchers(vouchers, self._cache(process))

    async def _raise_number(self) -> None:
        """Raise N at some time. A manager who gets no answer does not ask again: that would be another raise."""
        process = self._process("manager")
        await self._loop.arrival(4 * self._pace * self.rng.random())
        with suppress(PyMongoError):
            await self._parts.campaigns(self.mongo, process).raise_number(self.rng.choice([1, 2]))

    async def _withdraw(self) -> None:
        """Withdraw somebody's voucher at some time, if there is one; ask until there is an answer."""
        process, user, replace = self._process("manager"), self.rng.choice(self._users), self.rng.random() < 0.7
        withdrawals = Withdrawals(cast("Any", self._parts.withdrawals(self.mongo, process)), self._cache(process))
        await self._loop.arrival(6 * self._pace * self.rng.random())
        self._invariants.withdrawal_started(user)
        with suppress(Refusal):
            while not self._invariants.was_withdrawn(user):
                with suppress(PyMongoError):
                    await withdrawals.withdraw(Wanted(CAMPAIGN.id, user), "a bot", "manager", replace=replace)
                    self._invariants.withdrawal_acknowledged(user)

    async def _live(self, user: UUID) -> None:
        process = self._process(f"user {user.int}")
        person = Person(self.rng, user, self._invariants, self._pace)
        await person.log_in(self._parts.users(self.mongo, process))
        if self.rng.random() < self._parts.watching:
            await person.watch([self._vouchers(process) for _ in range(2)] * 2)

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

    async def _end(self) -> None:
        """Cancel until nothing is left: some clean up first."""
        this = asyncio.current_task()
        while tasks := [task for task in self._loop.tasks if task is not this and not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a history went: how many messages were sent, its last steps, how long it took in its own time."""

    steps: int
    last: list[tuple[float, str, str, str]]
    seconds: float


def simulate(seed: int, parts: Parts = Parts()) -> Outcome:  # frozen
    """Run the history of this seed. Raises AssertionError at the first violation; its notes are the trace."""
    loop = SimulatedLoop()

    async def live() -> None:
        history = History(seed, parts)
        await history.run()

    try:
        loop.run_until_complete(live())
    except Exception as error:
        steps = "\n".join(f"{at:9.4f} {who:8} {what} {result}" for at, who, what, result in loop.steps)
        error.add_note(f"seed {seed}; the last steps:\n{steps}")
        raise
    finally:
        loop.close()
    return Outcome(loop.sent, list(loop.steps), loop.time())
