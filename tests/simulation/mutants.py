"""Each takes one promise away. A simulation that does not notice would prove nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from earlybird.events import FirstLogin
from earlybird.identity.ledger import ResumeToken
from earlybird.identity.model import FirstLoginCommitted
from earlybird.promotions.granter import Granter
from earlybird.promotions.model import Voucher, award
from simulation.broker import SimulatedValkey, Stream
from simulation.history import Parts
from simulation.mongo import Mongo, Place, Process, State, T, Write
from simulation.stores import (
    CAMPAIGN,
    NUMBER,
    SimulatedLedger,
    SimulatedUsers,
    SimulatedVouchers,
    each,
    end_of_changes,
    users_with_first_login,
)


class WriteConcernOne(Mongo):
    """Acknowledges what the primary alone has."""

    async def write(self, process: Process, write: Write[T]) -> T:
        await process.travel()
        result, has_majority = self._apply(write)
        has_majority.add_done_callback(lambda future: future.exception())
        await process.travel()
        return result


class VouchersThenCursor(SimulatedVouchers):
    """Two commits, the vouchers first."""

    async def commit_awards(self, _: int, events: Sequence[FirstLogin]) -> list[Voucher]:
        def grant(state: State, __: datetime) -> list[Voucher]:
            vouchers = award(CAMPAIGN, NUMBER - len(state.vouchers), events)
            state.vouchers += vouchers
            return vouchers

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
            vouchers = award(CAMPAIGN, NUMBER - len(state.vouchers), events)
            state.vouchers += vouchers
            return vouchers

        await self._mongo.write(self._process, move)
        return await self._mongo.write(self._process, grant)


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

    @asynccontextmanager
    async def all_first_logins(self) -> AsyncIterator[tuple[Place, AsyncIterator[FirstLoginCommitted]]]:
        users = await self._mongo.read(self._process, users_with_first_login)
        moment = await self._mongo.read(self._process, end_of_changes)
        yield moment, each(users)


class LedgerThatForgets(SimulatedLedger):
    """A change delivered again, or reconciled, is numbered again."""

    def _known(self, state: State) -> set[UUID]:  # noqa: ARG002
        return set()


class TokenBeforeEntries(SimulatedLedger):
    """Saves its place in the change stream before it appends what came before that place."""

    async def append(
        self,
        n: int,
        committed: Sequence[FirstLoginCommitted],
        *,
        resume_token: ResumeToken | None = None,
        start_at: Place | None = None,
    ) -> int:
        await super().append(n, [], resume_token=resume_token, start_at=start_at)
        return await super().append(n, committed)


class GranterThatSkipsGaps(Granter):
    """Takes the next event for the one after its cursor, whatever its number."""

    async def _grant(self, cursor: int, events: Sequence[FirstLogin]) -> int:
        return await super()._grant(cursor, events[1:] or events)


MUTANTS = {
    "w:1 instead of majority": Parts(mongo=WriteConcernOne),
    "vouchers committed before the cursor": Parts(vouchers=VouchersThenCursor),
    "cursor committed before the vouchers": Parts(vouchers=CursorThenVouchers),
    "ledger without compare-and-set": Parts(ledger=LedgerWithoutCompareAndSet),
    "cursor without compare-and-set": Parts(vouchers=CursorWithoutCompareAndSet),
    "publish without expected sequence": Parts(stream=StreamWithoutExpectedSequence),
    "a reader fills the cache with SET": Parts(valkey=FillWithSet),
    "first login without the filter": Parts(users=FirstLoginWithoutFilter),
    "reconcile that skips a gap": Parts(ledger=ReconcileThatSkipsAGap),
    "ledger that forgets who is in it": Parts(ledger=LedgerThatForgets),
    "resume token before the entries": Parts(ledger=TokenBeforeEntries),
    "granter that skips a gap": Parts(granter=GranterThatSkipsGaps),
}
