"""One run: people act, a fault happens to the cluster meanwhile, everything comes to rest, the checker judges."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from nats.errors import Error as NatsError
from pymongo.errors import PyMongoError

from earlybird.errors import Failure
from earlybird.infra.processes import cancel_until_done
from earlybird.operations.audit import Audit
from faults.checker import missing, safety_violations
from faults.cluster import Cluster
from faults.history import Call, FinalState, History, Outcome
from faults.matrix import Cell
from faults.people import Crowd
from faults.records import Records, have_earlier_logins

HARNESS = 3  # counts what changed the meaning of a run; 2: Caddy in place of Envoy
COMPLETE_WITHIN_SECONDS = 60
_FAULT_SECONDS = 240
_AT_FIRST = 0.6  # of the people come before the fault
_HELD_BACK = 0.1  # come once it is over; the others come one by one while it lasts, or when it is over
_ARRIVAL_SECONDS = 0.25  # between one of these and the next: for half a minute, as long as the longest pause
_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to. Times in seconds."""

    cell: str
    seed: int
    acknowledged: int
    unknown: int
    violations: Sequence[str]
    incomplete: Sequence[str]
    fault_seconds: float
    recovery_seconds: (
        float | None
    )  # from the fault's end until a first login made after it is judged, and all before
    complete_seconds: float | None  # until nothing more is to be done
    run_seconds: float
    during: int | None = None  # first logins acknowledged while the fault lasted
    harness: int = 1

    @property
    def is_late(self) -> bool:
        """Whether not everything was done in time."""
        return self.complete_seconds is None or self.complete_seconds > COMPLETE_WITHIN_SECONDS


@dataclass(slots=True)
class Run:
    """A run with all that it has seen, for whoever wants to look into it."""

    cell: Cell
    seed: int
    people: int = 400
    number: int = 100
    history: History = field(default_factory=History)
    final: FinalState | None = None

    async def carry_out(self, cluster: Cluster) -> Result:
        """Do it all. The same seed gives the same people, the same fault at the same point of their progress."""
        rng, of_people = (random.Random(f"{self.cell.name}/{self.seed}/{what}") for what in ("fault", "people"))
        await cluster.settled()
        if not cluster.people and self.cell.earlier_logins:
            await have_earlier_logins(cluster, self.cell.earlier_logins)
        prefix = f"run{cluster.people}"
        opened_with = self.number // 2 if self.cell.raises_number else self.number
        records = await Records.begin(cluster, prefix, self.number, opened_with=opened_with)
        crowd = Crowd(cluster.url, self.history, of_people, bots=self.cell.withdraws)
        observer = asyncio.create_task(records.observe(self.history))
        lives: list[asyncio.Task[None]] = []

        def arrive(count: int) -> None:
            for _ in range(count):
                cluster.people += 1
                lives.append(asyncio.create_task(crowd.live(cluster.people, f"{prefix}-{cluster.people}")))

        started = time.monotonic()
        try:
            arrive(round(self.people * _AT_FIRST))
            await crowd.until_logged_in(rng.randint(1, round(self.cell.begins_within * self.people)))
            fault_began = time.monotonic()
            coming = asyncio.create_task(self._keep_coming(arrive))
            try:
                await self._injure(cluster, rng, records)
            finally:
                await cancel_until_done([coming])
            self.history.fault_ended = time.monotonic()
            crowd.look_again()
            arrive(self.people - len(lives))
            mended_at = cluster.mended_at if cluster.mended_at > fault_began else self.history.fault_ended
            complete_seconds = await self._come_to_rest(records, crowd, lives, mended_at)
        finally:
            await cancel_until_done((*lives, observer))
            await crowd.close()
        final = self.final = await records.final()
        violations = safety_violations(self.history, final)
        if complete_seconds is not None:
            violations += await _audit(cluster)
        return Result(
            cell=self.cell.name,
            seed=self.seed,
            acknowledged=len({call.who for call in self.history.done("login")}),
            unknown=self.history.count("login", Outcome.UNKNOWN),
            violations=violations,
            incomplete=[]
            if complete_seconds is not None
            else self._missing(final) or ["all is done, but too late"],
            fault_seconds=self.history.fault_ended - fault_began,
            recovery_seconds=self._recovery_seconds(final),
            complete_seconds=complete_seconds,
            run_seconds=time.monotonic() - started,
            during=sum(fault_began < one.ended < self.history.fault_ended for one in self._first_acknowledged()),
            harness=HARNESS,
        )

    async def _keep_coming(self, arrive: Callable[[int], None]) -> None:
        for _ in range(round(self.people * (1 - _AT_FIRST - _HELD_BACK))):
            arrive(1)
            await asyncio.sleep(_ARRIVAL_SECONDS)

    async def _injure(self, cluster: Cluster, rng: random.Random, records: Records) -> None:
        jobs = [self.cell.act(cluster, rng)]
        if self.cell.raises_number:
            jobs.append(records.raise_number())
        if self.cell.withdraws:
            jobs.append(records.withdraw(self.history))
        if self.cell.closes:
            jobs.append(records.close())
        async with asyncio.timeout(_FAULT_SECONDS):
            await asyncio.gather(*jobs)

    async def _come_to_rest(
        self, records: Records, crowd: Crowd, lives: Sequence[asyncio.Task[None]], mended_at: float
    ) -> float | None:
        """Wait until everything is done; give how long it took since all was ready again, None if too long.

        Too long is counted from when the last process was started or the last way opened.
        """
        deadline = mended_at + COMPLETE_WITHIN_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline - time.monotonic()):
                await crowd.until_logged_in(self.people)
                await self._until(lambda: self._all_are_judged(records))
                crowd.look_again()
                await self._until(self._all_is_spent)
                crowd.over = True
                crowd.look_again()
                await asyncio.gather(*lives)
        while time.monotonic() < deadline:  # not by cancelling, which a driver may swallow
            with suppress(PyMongoError, NatsError):
                if not self._missing(await records.final()) and time.monotonic() < deadline:
                    return time.monotonic() - self.history.fault_ended
            await asyncio.sleep(_EVERY_SECONDS)
        return None

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(_EVERY_SECONDS)

    def _all_are_judged(self, records: Records) -> bool:
        seen = self.history.observations
        return bool(seen) and seen[-1].cursor >= records.base + self.people

    def _all_is_spent(self) -> bool:
        """Say whether every winner has redeemed whose voucher was not withdrawn."""
        spent = len({call.who for call in self.history.done("redeem")})
        seen = self.history.observations[-1]
        return spent >= len(seen.winners) - seen.withdrawn

    def _missing(self, final: FinalState) -> list[str]:
        winners = 0 if self.cell.closes or self.cell.misdates else self.number
        return missing(self.history, final, self.people, winners, events_kept=self.cell.keeps_events)

    def _first_acknowledged(self) -> list[Call]:
        """Give the first answer that each person's login had, in their order."""
        first: dict[str, Call] = {}
        for call in sorted(self.history.done("login"), key=lambda call: call.ended):
            first.setdefault(call.who, call)
        return list(first.values())

    def _recovery_seconds(self, final: FinalState) -> float | None:
        """Find when all acknowledged before the fault's end were judged, and the first to log in after it."""
        ids = {name: user.id for name, user in final.users.items()}
        logins = sorted(self.history.done("login"), key=lambda call: call.ended)
        awaited: set[UUID] = {ids[call.who] for call in logins if call.ended <= self.history.fault_ended}
        later = [call for call in logins if call.started > self.history.fault_ended]
        if not later:
            return None
        awaited.add(ids[later[0].who])
        for seen in self.history.observations:
            if seen.at > self.history.fault_ended and awaited <= set(seen.ledger[: seen.cursor - final.base]):
                return seen.at - self.history.fault_ended
        return None


async def _audit(cluster: Cluster) -> list[str]:
    """Say what the product's own audit finds: it looks at all that is stored, of the runs before this one too.

    A server that does not answer is asked again, until it has had as long as everything else.
    """
    deadline = time.monotonic() + COMPLETE_WITHIN_SECONDS
    while True:
        try:
            await Audit(cluster.mongo, cluster.jetstream).run(lambda _: None)
        except Failure as failure:
            return [f"audit: {failure}"]
        except (PyMongoError, NatsError):
            if time.monotonic() > deadline:
                raise
        else:
            return []
