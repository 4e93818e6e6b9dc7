"""Each takes one promise away. A simulation that does not notice would prove nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from nats.js.api import ConsumerConfig
from pymongo.errors import AutoReconnect

from earlybird.events import FirstLogin
from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.identity.ledger.seals import seal_each
from earlybird.promotions.granting.award import award
from earlybird.promotions.granting.first_logins import first_logins_from
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.vouchers.cache import VoucherCache, _key
from earlybird.promotions.vouchers.model import Voucher
from simulation.broker import SimulatedConsumer, SimulatedJetStream, SimulatedValkey, Stream
from simulation.history import Parts
from simulation.mongo import START, Mongo, Place, Process, State, T, Write
from simulation.stores import (
    SECRET,
    SimulatedCampaigns,
    SimulatedLedger,
    SimulatedUsers,
    SimulatedVouchers,
    SimulatedWithdrawals,
    campaign_of,
    end_of_changes,
    users_with_first_login,
)


class WriteConcernOne(Mongo):
    """Acknowledges what the primary alone has."""

    async def write(self, process: Process, write: Write[T]) -> T:
        sent_at = self._loop.time()
        result, _ = await process.request(write.__qualname__, lambda: self._apply(write, sent_at), AutoReconnect)
        await process.travel()
        return result


class ReadConcernLocal(Mongo):
    """Reads what the primary alone has."""

    async def read(self, process: Process, read: Callable[[State], T], *, newest: bool = False) -> T:  # noqa: ARG002
        await process.travel()
        result = read(self.primary)
        await process.travel()
        return result


class VouchersThenCursor(SimulatedVouchers):
    """Two commits, the vouchers first."""

    async def commit_awards(self, _: int, events: Sequence[FirstLogin]) -> list[Voucher]:
        def grant(state: State, __: datetime) -> list[Voucher]:
            return self._grant(state, events)

        def move(state: State, __: datetime) -> None:
            state.cursor = max(state.cursor, events[-1].n)

        vouchers = await self._mongo.write(self._process, grant)
        await self._mongo.write(self._process, move)
        return vouchers


class CursorThenVouchers(SimulatedVouchers):
    """Two commits, the cursor first: an event is acknowledged before its work is done."""

    async def commit_awards(self, _: int, events: Sequence[FirstLogin]) -> list[Voucher]:
        def move(state: State, __: datetime) -> None:
            state.cursor = events[-1].n

        def grant(state: State, __: datetime) -> list[Voucher]:
            return self._grant(state, events)

        await self._mongo.write(self._process, move)
        return await self._mongo.write(self._process, grant)


class WithoutAWindow(SimulatedVouchers):
    """Whoever comes too early or too late counts as well."""

    def _award(self, state: State, events: Sequence[FirstLogin]) -> list[Voucher]:
        campaign = replace(campaign_of(state), starts_at=START, ends_at=None)
        return award(campaign, state.remaining, events)


class LastFirst(SimulatedVouchers):
    """Of those judged together, the later ones get the lower positions."""

    def _award(self, state: State, events: Sequence[FirstLogin]) -> list[Voucher]:
        return super()._award(state, events[::-1])


class NewcomersOvertake(SimulatedVouchers):
    """The granter goes on granting while the caretaker still catches up after a raise."""

    def _leaves_to_the_caretaker(self, state: State) -> bool:  # noqa: ARG002
        return False


class CatchUpOneTooLate(SimulatedCampaigns):
    """After a raise, whoever came right after the last winner is passed over."""

    def _next_in_line(self, state: State) -> int:
        return super()._next_in_line(state) + 1


class CatchUpFromTheCursor(SimulatedCampaigns):
    """After a raise, only newcomers count."""

    def _next_in_line(self, state: State) -> int:
        return state.cursor


class ReplacementForNewcomers(SimulatedWithdrawals):
    """After a withdrawal, those who wait are overtaken by those who come."""

    def _next_in_line(self, state: State) -> int:
        return state.cursor


class ReplacedAgainAndAgain(SimulatedWithdrawals):
    """A withdrawal that is asked for again makes room again."""

    def _is_replaced(self, state: State, position: int) -> bool:  # noqa: ARG002
        return False


class PositionUsedAgain(SimulatedVouchers):
    """A replacement gets the position of the voucher that was withdrawn."""

    def _award(self, state: State, events: Sequence[FirstLogin]) -> list[Voucher]:
        again = [voucher for voucher in super()._award(state, events) if voucher.position > state.number]
        return [
            replace(voucher, position=state.replaced[voucher.position - state.number - 1])
            if voucher in again
            else voucher
            for voucher in super()._award(state, events)
        ]


class WithdrawalWithoutBypass(VoucherCache):
    """The cache is not told of a withdrawal."""

    async def bypass(self, user_id: UUID, seconds: int) -> None:
        """Leave what is there."""


class LedgerWithoutCompareAndSet(SimulatedLedger):
    """Whoever appends, appends."""

    def _is_head(self, state: State, n: int) -> bool:  # noqa: ARG002
        return True


class CursorWithoutCompareAndSet(SimulatedVouchers):
    """Whoever judges, judges."""

    def _is_cursor(self, state: State, cursor: int) -> bool:  # noqa: ARG002
        return True


class StreamWithoutExpectedSequence(Stream):
    """Whatever is published is stored."""

    def refuses(self, expected: int) -> bool:  # noqa: ARG002
        return False


class FillWithSet(SimulatedValkey):
    """A reader's fill covers whatever is there."""

    def _may_set(self, key: str, *, nx: bool) -> bool:  # noqa: ARG002
        return True


class FirstLoginWithoutFilter(SimulatedUsers):
    """Every login is marked as the first."""

    def _matches(self, state: State, user_id: UUID) -> bool:  # noqa: ARG002
        return True


class ReconcileThatSkipsAGap(SimulatedLedger):
    """Follows from a moment after the users were read."""

    async def _users_at_a_moment(self) -> tuple[Place, list[FirstLoginCommitted]]:
        _, users = await super()._users_at_a_moment()
        return await self._mongo.read(self._process, end_of_changes), users


class ReconcileInPieces(SimulatedLedger):
    """Reads some users as of one moment, and the others as of a later one, as a scan at majority may."""

    async def _users_at_a_moment(self) -> tuple[Place, list[FirstLoginCommitted]]:
        moment, users = await super()._users_at_a_moment()
        later = await self._mongo.read(self._process, users_with_first_login, newest=True)
        scanned = [one for one in users if one.user_id.int % 2] + [one for one in later if not one.user_id.int % 2]
        return moment, sorted(scanned, key=lambda one: (one.first_login_at, one.user_id))


class ReconcileByUser(SimulatedLedger):
    """When the order of commitment is lost, goes by who somebody is."""

    async def _users_at_a_moment(self) -> tuple[Place, list[FirstLoginCommitted]]:
        moment, users = await super()._users_at_a_moment()
        return moment, sorted(users, key=lambda one: one.user_id)


class LedgerByTime(SimulatedLedger):
    """Orders by the date of a first login what the change stream orders by its commitment."""

    async def append(self, n: int, committed: Sequence[FirstLoginCommitted], **place: Any) -> int:
        by_time = sorted(committed, key=lambda one: one.first_login_at)
        return await super().append(n, by_time, **place)


class FindAtMajority(SimulatedLedger):
    """Compares the stream with a ledger that may be old."""

    async def find(self, n: int) -> FirstLogin | None:
        return next(iter(await self.read_after(n - 1, 1)), None)


class LedgerThatForgets(SimulatedLedger):
    """A change delivered again, or reconciled, is numbered again."""

    def _known(self, state: State) -> set[UUID]:  # noqa: ARG002
        return set()


class SealsFromMemory(SimulatedLedger):
    """Seals to the seal that this process has made last, whoever appended since, committed or not."""

    last: bytes = b""

    def _seal_before(self, state: State) -> bytes:
        seal = self.last or super()._seal_before(state)
        entries = state.ledger[len(state.seals) :]  # those that are appended now
        *_, self.last = seal_each(SECRET, seal, entries) if entries else [seal]
        return seal


class TokenBeforeEntries(SimulatedLedger):
    """Saves its place in the change stream before it appends what came before that place."""

    async def append(self, n: int, committed: Sequence[FirstLoginCommitted], **place: Any) -> int:
        await super().append(n, [], **place)
        return await super().append(n, committed)


class GranterThatSkipsGaps(Granter):
    """Takes whatever comes after its cursor for what comes next."""

    async def work(self) -> None:
        cursor = await self._store.cursor()
        async with first_logins_from(self._jetstream, cursor + 1) as stream:
            while True:
                events = [event for event in await stream.next_batch() if event.n > cursor]
                if events:
                    cursor = await self._grant(cursor, events)


class BrokerThatForgetsWhatItSent(SimulatedJetStream):
    """Says of every consumer that it was sent nothing: what got lost on the way is never asked for again."""

    async def pull_subscribe(self, subject: str, *, stream: str, config: ConsumerConfig) -> SimulatedConsumer:
        consumer = await super().pull_subscribe(subject, stream=stream, config=config)
        return Forgetful(consumer.stream, consumer.process, consumer.place)


class Forgetful(SimulatedConsumer):
    async def consumer_info(self) -> Any:
        await super().consumer_info()
        return SimpleNamespace(delivered=None)


class FillUnderNone(VoucherCache):
    """A reader that found a voucher leaves a "none" of another reader in its place."""

    async def fill(self, found: Mapping[UUID, Voucher | None], now: datetime) -> None:
        await super().fill({one: None for one, voucher in found.items() if voucher is None}, now)
        async with self._writing() as pipeline:
            for one, voucher in found.items():
                if voucher is not None:
                    pipeline.set(_key(one), voucher.to_json(), px=self._lifetime_ms(voucher, now), nx=True)


MUTANTS = {  # each with the violation by which it is to be found
    "w:1 instead of majority": (Parts(mongo=WriteConcernOne), "not complete|real time|is not entry"),
    "local instead of majority": (Parts(mongo=ReadConcernLocal), "of no entry that a majority has"),
    "vouchers committed before the cursor": (Parts(vouchers=VouchersThenCursor), "not those of the judged"),
    "cursor committed before the vouchers": (Parts(vouchers=CursorThenVouchers), "not those of the judged"),
    "everybody counts": (Parts(vouchers=WithoutAWindow), "not those of the judged"),
    "awarded last first": (Parts(vouchers=LastFirst), "not those of the judged"),
    "newcomers overtake those next in line": (
        Parts(vouchers=NewcomersOvertake, raises=1),
        "not those of the judged|not complete",
    ),
    "catch-up begins one too late": (Parts(campaigns=CatchUpOneTooLate, raises=1), "not those of the judged"),
    "after a raise only newcomers count": (
        Parts(campaigns=CatchUpFromTheCursor, raises=1),
        "not those of the judged",
    ),
    "a replacement overtakes those next in line": (
        Parts(withdrawals=ReplacementForNewcomers, withdrawing=1),
        "not those of the judged",
    ),
    "newcomers overtake a replacement": (
        Parts(vouchers=NewcomersOvertake, withdrawing=1, raises=0),
        "not those of the judged|not complete",
    ),
    "a withdrawn voucher is replaced again and again": (
        Parts(withdrawals=ReplacedAgainAndAgain, withdrawing=1, losses=(0.1,)),
        "replaced twice",
    ),
    "a position is used again": (Parts(vouchers=PositionUsedAgain, withdrawing=1), "positions have a hole"),
    "a withdrawal without BYPASS": (
        Parts(cache=WithdrawalWithoutBypass, withdrawing=1, watching=1),
        "a withdrawn voucher was shown|others see one",
    ),
    "ledger without compare-and-set": (Parts(ledger=LedgerWithoutCompareAndSet), "after . comes ."),
    "cursor without compare-and-set": (
        Parts(vouchers=CursorWithoutCompareAndSet),
        "not those of the judged|went back",
    ),
    "publish without expected sequence": (Parts(stream=StreamWithoutExpectedSequence), "message"),
    "a reader fills the cache with SET": (Parts(valkey=FillWithSet, watching=1), "shown, and then hidden"),
    "a voucher found gives way to none": (Parts(cache=FillUnderNone, watching=1), "shown, and then hidden"),
    "first login without the filter": (Parts(users=FirstLoginWithoutFilter), "misdated"),
    "reconcile that skips a gap": (Parts(ledger=ReconcileThatSkipsAGap), "not complete|passed over|order of"),
    "reconcile as of no one moment": (
        Parts(ledger=ReconcileInPieces),
        "order of commitment|passed over|real time",
    ),
    "reconcile in another order": (Parts(ledger=ReconcileByUser), "not in the order of time"),
    "ledger by time": (Parts(ledger=LedgerByTime), "not in the order of commitment|passed over"),
    "ledger that forgets who is in it": (Parts(ledger=LedgerThatForgets), "in the ledger twice"),
    "seals kept in memory": (Parts(ledger=SealsFromMemory), "not sealed to those before"),
    "stream compared with an old ledger": (Parts(ledger=FindAtMajority), "stream_ahead"),
    "resume token before the entries": (
        Parts(ledger=TokenBeforeEntries),
        "passed over|not complete|order of commitment",
    ),
    "granter that skips a gap": (Parts(granter=GranterThatSkipsGaps), "not those of the judged"),
    "what was lost is never asked for": (
        Parts(jetstream=BrokerThatForgetsWhatItSent, losses=(0.1,)),
        "not complete",
    ),
}
