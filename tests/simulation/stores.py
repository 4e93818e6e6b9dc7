"""The stores that production gives its workers, on the model of MongoDB: the same methods, the same promises."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.events import FirstLogin
from earlybird.identity.ledger.model import FirstLoginCommitted, number_first_logins
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.identity.ledger.store import Head, HeadMoved, HistoryLost, ResumeToken
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.campaigns.model import Campaign, Raise
from earlybird.promotions.granting.award import award
from earlybird.promotions.granting.store import CatchUp
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.withdrawals.model import Wanted
from simulation.loop import simulated_loop
from simulation.mongo import NUMBER, START, Mongo, Place, Process, State

OPENS_AT, CLOSES_AT = START + timedelta(milliseconds=5), START + timedelta(milliseconds=500)  # most come between
CAMPAIGN = Campaign(UUID(int=1), "Launch", 30, NUMBER, "30 % off", 36500, 1, OPENS_AT, CLOSES_AT)
SECRET = b"of the simulated ledger"


class SimulatedLedger:
    """As identity.ledger.Ledger. A place in the change stream is a number."""

    def __init__(self, mongo: Mongo, process: Process) -> None:
        self._mongo = mongo
        self._process = process

    async def head(self) -> Head:
        return await self._mongo.read(self._process, _head)

    @asynccontextmanager
    async def watch(self, head: Head) -> AsyncIterator["SimulatedChanges"]:
        await self._process.travel()
        place, given_at = (head.resume_token or {})["place"]
        if given_at <= self._mongo.forgotten_until:
            raise HistoryLost
        yield SimulatedChanges(self._mongo, self._process, self._mongo.begin_watch(place))

    async def append(
        self,
        n: int,
        committed: Sequence[FirstLoginCommitted],
        *,
        resume_token: ResumeToken | None = None,
        start_at: Place | None = None,
    ) -> int:
        place = start_at if resume_token is None else resume_token["place"]

        def transaction(state: State, _: datetime) -> int:
            if not self._is_head(state, n):
                raise HeadMoved
            entries = number_first_logins(n, committed, self._known(state))
            state.head_n = n + len(entries)
            state.head_place = state.head_place if place is None else place
            state.ledger += entries
            state.seals += list(seal_each(SECRET, self._seal_before(state), entries))
            return state.head_n

        return await self._mongo.write(self._process, transaction)

    @asynccontextmanager
    async def all_first_logins(self) -> AsyncIterator[tuple[Place, AsyncIterator[FirstLoginCommitted]]]:
        moment, users = await self._users_at_a_moment()
        yield moment, each(users)

    async def _users_at_a_moment(self) -> tuple[Place, list[FirstLoginCommitted]]:
        def read(state: State) -> tuple[Place, list[FirstLoginCommitted]]:
            self._mongo.reconciled = len(state.changes)
            return end_of_changes(state), users_with_first_login(state)

        return await self._mongo.read(self._process, read, newest=True)

    async def read_after(self, n: int, limit: int) -> list[FirstLogin]:
        return await self._mongo.read(self._process, lambda state: state.ledger[n : n + limit])

    async def find(self, n: int) -> FirstLogin | None:
        found = await self._mongo.read(self._process, lambda state: state.ledger[n - 1 : n], newest=True)
        return found[0] if found else None

    async def seal_older(self) -> int:
        return 0

    def _is_head(self, state: State, n: int) -> bool:
        return state.head_n == n

    def _seal_before(self, state: State) -> bytes:
        return state.seals[-1] if state.seals else FIRST_SEAL

    def _known(self, state: State) -> set[UUID]:
        return {entry.user_id for entry in state.ledger}


class SimulatedChanges:
    """As pymongo's change stream, from a place on."""

    alive = True  # nobody drops the collection

    def __init__(self, mongo: Mongo, process: Process, place: int) -> None:
        self._mongo = mongo
        self._process = process
        self._place = place

    @property
    def resume_token(self) -> ResumeToken:
        return {"place": (self._place, simulated_loop().time())}

    async def try_next(self) -> dict[str, Any] | None:
        """Wait for a change, for a second at most."""
        await self._process.travel()
        await self._mongo.until_changed(self._place, 1)
        changes = self._mongo.majority.changes
        if self._place >= len(changes):
            return None
        change = changes[self._place]
        self._place += 1
        fields = {"first_login_at": change.first_login_at}
        return {"documentKey": {"_id": change.user_id}, "updateDescription": {"updatedFields": fields}}

    async def close(self) -> None:
        """Nothing is kept of it."""


class SimulatedUsers:
    """As identity.store.UserStore, of which the simulation needs one method. Everybody is an active customer."""

    def __init__(self, mongo: Mongo, process: Process) -> None:
        self._mongo = mongo
        self._process = process

    async def mark_first_login(self, user_id: UUID) -> bool:
        def update(state: State, now: datetime) -> bool:
            if not self._matches(state, user_id):
                return False
            state.first_login_at[user_id] = now
            state.changes.append(FirstLoginCommitted(user_id, now))
            return True

        return await self._mongo.write(self._process, update)

    def _matches(self, state: State, user_id: UUID) -> bool:
        return state.first_login_at[user_id] is None


class SimulatedVouchers:
    """As promotions.store.VoucherStore, as far as granting and showing go."""

    def __init__(self, mongo: Mongo, process: Process) -> None:
        self._mongo = mongo
        self._process = process

    async def cursor(self) -> int:
        return await self._mongo.read(self._process, lambda state: state.cursor)

    async def commit_awards(self, cursor: int, events: Sequence[FirstLogin]) -> list[Voucher]:
        def transaction(state: State, _: datetime) -> list[Voucher]:
            if not self._is_cursor(state, cursor):
                raise CursorMoved
            state.cursor = events[-1].n
            if self._leaves_to_the_caretaker(state):
                return []
            return self._grant(state, events)

        return await self._mongo.write(self._process, transaction)

    async def commit_catch_up(self, _: UUID, n: int, events: Sequence[FirstLogin]) -> CatchUp:
        def transaction(state: State, _: datetime) -> CatchUp:
            if state.reread_n != n:
                raise CursorMoved
            remaining, judged = state.remaining, [event for event in events if event.n <= state.cursor]
            vouchers = self._grant(state, judged)
            reached = judged[-1].n if judged else n
            in_step = len(vouchers) == remaining or reached >= state.cursor
            state.reread_n = None if in_step else reached
            return CatchUp(vouchers, state.reread_n)

        return await self._mongo.write(self._process, transaction)

    def _grant(self, state: State, events: Sequence[FirstLogin]) -> list[Voucher]:
        vouchers = self._award(state, events)
        state.vouchers += vouchers
        state.remaining -= len(vouchers)
        return vouchers

    def _leaves_to_the_caretaker(self, state: State) -> bool:
        return state.reread_n is not None

    async def find_current_vouchers(
        self, user_ids: Sequence[UUID], _: datetime, *, newest: bool
    ) -> dict[UUID, Voucher]:
        def read(state: State) -> dict[UUID, Voucher]:
            found = {one: voucher_of(state, one) for one in user_ids if one not in state.withdrawn}
            return {one: voucher for one, voucher in found.items() if voucher is not None}

        return await self._mongo.read(self._process, read, newest=newest)

    def _is_cursor(self, state: State, cursor: int) -> bool:
        return state.cursor == cursor

    def _award(self, state: State, events: Sequence[FirstLogin]) -> list[Voucher]:
        return award(campaign_of(state), state.remaining, events)


class SimulatedCampaigns:
    """As promotions.campaigns.store.CampaignStore: one campaign, whose N may be raised."""

    def __init__(self, mongo: Mongo, process: Process) -> None:
        self._mongo = mongo
        self._process = process

    async def keep_schedule(self) -> None:
        """Nothing starts or ends by the clock here but the window of CAMPAIGN."""

    async def find_behind(self) -> list[SimpleNamespace]:
        reread_n = await self._mongo.read(self._process, lambda state: state.reread_n)
        return [] if reread_n is None else [SimpleNamespace(campaign=CAMPAIGN, reread_n=reread_n)]

    async def raise_number(self, more: int) -> None:
        """Raise N; if all vouchers were gone, those after the last winner are next in line."""

        def transaction(state: State, _: datetime) -> None:
            if state.remaining == 0 and state.vouchers[-1].first_login_n < state.cursor:
                state.reread_n = self._next_in_line(state)
            state.number += more
            state.remaining += more

        await self._mongo.write(self._process, transaction)

    def _next_in_line(self, state: State) -> int:
        return state.vouchers[-1].first_login_n


class SimulatedWithdrawals:
    """As promotions.withdrawals.store.WithdrawalStore: vouchers are withdrawn by their owner."""

    def __init__(self, mongo: Mongo, process: Process) -> None:
        self._mongo = mongo
        self._process = process

    async def find(self, wanted: Wanted) -> Voucher:
        return _existing(await self._mongo.read(self._process, lambda state: voucher_of(state, wanted.user_id)))

    async def withdraw(self, wanted: Wanted, _: str, __: str, *, replace: bool) -> None:
        def transaction(state: State, _: datetime) -> None:
            voucher = _existing(voucher_of(state, wanted.user_id))
            state.withdrawn[voucher.user_id] = voucher.position
            if replace and not self._is_replaced(state, voucher.position):
                if state.remaining == 0 and state.vouchers[-1].first_login_n < state.cursor:
                    state.reread_n = self._next_in_line(state)
                state.replaced.append(voucher.position)
                state.remaining += 1

        await self._mongo.write(self._process, transaction)

    def _is_replaced(self, state: State, position: int) -> bool:
        return position in state.replaced

    def _next_in_line(self, state: State) -> int:
        return state.vouchers[-1].first_login_n


def campaign_of(state: State) -> Campaign:
    """Give the campaign as it is stored; when positions were added changes nothing here."""
    raises = tuple(Raise(0, START, position) for position in state.replaced)
    return replace(CAMPAIGN, number_of_promotion=state.number, raises=raises)


def voucher_of(state: State, user_id: UUID | None) -> Voucher | None:
    return next((voucher for voucher in state.vouchers if voucher.user_id == user_id), None)


def _existing(voucher: Voucher | None) -> Voucher:
    if voucher is None:
        raise Refusal("voucher_not_found", "There is no such voucher in this campaign.")
    return voucher


def _head(state: State) -> Head:
    return Head(state.head_n, {"place": state.head_place})


def end_of_changes(state: State) -> Place:
    """Give the place from which on everything that comes later is seen."""
    return len(state.changes), simulated_loop().time()


def users_with_first_login(state: State) -> list[FirstLoginCommitted]:
    found = [FirstLoginCommitted(user_id, at) for user_id, at in state.first_login_at.items() if at is not None]
    return sorted(found, key=lambda one: (one.first_login_at, one.user_id))


async def each(users: Sequence[FirstLoginCommitted]) -> AsyncIterator[FirstLoginCommitted]:
    for user in users:
        yield user
