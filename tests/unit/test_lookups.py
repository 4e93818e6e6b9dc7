"""Lookups that travel together: few queries, each answer its own, and no answer from before the question."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.errors import Unavailable
from earlybird.promotions.vouchers.lookups import _MOST, FindMany, Lookups
from earlybird.promotions.vouchers.model import Voucher


def a_voucher(user_id: UUID) -> Voucher:
    return Voucher(uuid4(), user_id, uuid4(), 1, 1, "30 % off", 30, datetime(2026, 12, 31, tzinfo=UTC))


class Table:
    """Who has a voucher; notes each query, and answers when it is let."""

    def __init__(self, *vouchers: Voucher) -> None:
        self.vouchers = {voucher.user_id: voucher for voucher in vouchers}
        self.queries: list[Sequence[UUID]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def find(self, user_ids: Sequence[UUID]) -> dict[UUID, Voucher]:
        self.queries.append(user_ids)
        found = {one: self.vouchers[one] for one in user_ids if one in self.vouchers}
        await self.may_answer.wait()
        return found


@given(st.lists(st.integers(0, 20), min_size=1, max_size=3 * _MOST), st.sets(st.integers(0, 20)))
async def test_each_gets_their_own_answer_by_few_queries(asked: list[int], having: set[int]) -> None:
    users = [uuid4() for _ in range(21)]
    table = Table(*(a_voucher(users[i]) for i in having))
    lookups = Lookups(table.find)
    found = await asyncio.gather(*(lookups.find(users[i]) for i in asked))
    assert found == [table.vouchers.get(users[i]) for i in asked]
    assert sum(map(len, table.queries)) == len(asked)
    assert len(table.queries) == -(-len(asked) // _MOST)
    assert max(map(len, table.queries)) <= _MOST


async def ask_before_and_during_a_query(kind: type[Lookups]) -> tuple[Voucher | None, Voucher | None, Voucher]:
    """Return what one is told who asked before a voucher was granted, one who asked after it, and the voucher."""
    user = uuid4()
    table = Table()
    table.may_answer.clear()
    lookups = kind(table.find)
    before = asyncio.create_task(lookups.find(user))
    while not table.queries:
        await asyncio.sleep(0)
    voucher = table.vouchers[user] = a_voucher(user)
    after = asyncio.create_task(lookups.find(user))
    await asyncio.sleep(0)
    table.may_answer.set()
    return await before, await after, voucher


async def test_a_query_under_way_answers_nobody_who_asked_after_it_began() -> None:
    before, after, voucher = await ask_before_and_during_a_query(Lookups)
    assert before is None
    assert after == voucher


class Joining(Lookups):
    """A mutant: whoever asks for somebody who is being looked up joins that query."""

    def __init__(self, find: FindMany) -> None:
        super().__init__(find)
        self._under_way: dict[UUID, asyncio.Task[Voucher | None]] = {}

    async def find(self, user_id: UUID) -> Voucher | None:
        if user_id not in self._under_way:
            self._under_way[user_id] = asyncio.create_task(super().find(user_id))
        return await self._under_way[user_id]


async def test_one_that_joins_a_query_under_way_is_noticed() -> None:
    _, after, voucher = await ask_before_and_during_a_query(Joining)
    assert after != voucher


async def test_a_failure_reaches_all_who_wait_and_the_next_are_served() -> None:
    user, table = uuid4(), Table()
    failing = [True]

    async def find(user_ids: Sequence[UUID]) -> dict[UUID, Voucher]:
        if failing.pop():
            raise Unavailable("MongoDB is away")
        return await table.find(user_ids)

    failing = [False, True]
    lookups = Lookups(find)
    answers = await asyncio.gather(*(lookups.find(uuid4()) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(one, Unavailable) for one in answers)
    assert await lookups.find(user) is None


async def test_one_who_leaves_takes_no_answer_from_the_others() -> None:
    users = [uuid4() for _ in range(3)]
    table = Table(*map(a_voucher, users))
    lookups = Lookups(table.find)
    tasks = [asyncio.create_task(lookups.find(one)) for one in users]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0] == table.vouchers[users[0]]
    assert isinstance(answers[1], asyncio.CancelledError)
    assert answers[2] == table.vouchers[users[2]]


async def test_an_error_of_ours_does_not_leave_anybody_waiting() -> None:
    async def find(_: Sequence[UUID]) -> dict[UUID, Voucher]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Lookups(find).find(uuid4())
