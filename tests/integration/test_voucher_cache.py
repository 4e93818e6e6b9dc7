"""The rules of the voucher cache, on a real Valkey: writers win, absence is short, an outage is a miss."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from people import a_voucher, put_voucher
from redis.asyncio import BlockingConnectionPool, Redis
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from earlybird.access.permissions import Caller
from earlybird.infra.mongo import Client, Database
from earlybird.infra.valkey import connect_valkey
from earlybird.promotions.redemptions.model import Order
from earlybird.promotions.redemptions.service import Redemptions
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.vouchers import cache as voucher_cache
from earlybird.promotions.vouchers.cache import Noted, VoucherCache
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.settings import Settings
from earlybird.stack.servers import Servers
from stopping import stop

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def voucher(user_id: UUID, *, days: float = 30) -> Voucher:
    return replace(a_voucher(user_id), expire_at=NOW + timedelta(days=days))


@pytest.fixture
def cache(valkey: Redis) -> VoucherCache:
    return VoucherCache(valkey, voucher_seconds=300, no_voucher_seconds=1)


async def test_what_a_writer_noted_is_not_covered_by_a_slow_reader(cache: VoucherCache) -> None:
    user = uuid4()
    granted = voucher(user)
    await cache.put([granted], NOW)
    await cache.fill({user: None}, NOW)
    assert await cache.get(user) == granted.to_json()


async def test_a_writer_covers_the_absence_that_a_reader_noted(cache: VoucherCache) -> None:
    user = uuid4()
    await cache.fill({user: None}, NOW)
    assert await cache.get(user) is Noted.NO_VOUCHER
    granted = voucher(user)
    await cache.put([granted], NOW)
    assert await cache.get(user) == granted.to_json()


async def test_absence_is_kept_a_second_and_a_voucher_no_longer_than_it_is_valid(
    cache: VoucherCache, valkey: Redis
) -> None:
    nobody, soon, later = uuid4(), uuid4(), uuid4()
    await cache.fill({nobody: None}, NOW)
    await cache.put([voucher(soon, days=20 / 86_400)], NOW)
    await cache.put([voucher(later)], NOW)
    lifetimes = [await valkey.pttl(f"voucher:{user}") for user in (nobody, soon, later)]
    for lifetime, most in zip(lifetimes, (1000, 20_000, 300_000), strict=True):
        assert most * 0.5 < lifetime <= most


async def test_an_expired_voucher_is_not_cached(cache: VoucherCache) -> None:
    user = uuid4()
    await cache.put([voucher(user, days=-1)], NOW)
    assert await cache.get(user) is Noted.NOTHING


async def test_readers_that_come_together_share_one_round_trip(cache: VoucherCache, valkey: Redis) -> None:
    users = [uuid4() for _ in range(300)]
    await cache.put([voucher(user) for user in users[:150]], NOW)
    before = await calls(valkey)
    values = await asyncio.gather(*(cache.get(user) for user in users))
    assert [isinstance(value, bytes) for value in values] == [True] * 150 + [False] * 150
    assert await calls(valkey) - before <= 2


async def calls(valkey: Redis) -> int:
    """Tell how many MGETs Valkey has served."""
    statistics: dict[str, Any] = await valkey.info("commandstats")
    return int(statistics.get("cmdstat_mget", {"calls": 0})["calls"])


async def test_a_burst_of_misses_does_not_pass_for_an_outage(settings: Settings) -> None:
    pool = BlockingConnectionPool.from_url(
        settings.valkey_url.get_secret_value(), max_connections=voucher_cache._WRITERS, timeout=0.001
    )
    async with Redis.from_pool(pool) as valkey:
        cache = VoucherCache(valkey, voucher_seconds=300, no_voucher_seconds=1)
        with capture_logs() as logs:
            await asyncio.gather(*(cache.fill({uuid4(): None}, NOW) for _ in range(300)))
    assert logs == []


async def test_a_reader_that_gives_up_leaves_the_others_their_answers(cache: VoucherCache) -> None:
    users = [uuid4() for _ in range(20)]
    await cache.put([voucher(user) for user in users], NOW)
    reads = [asyncio.create_task(cache.get(user)) for user in users]
    await asyncio.sleep(0)
    reads[3].cancel()
    values = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(values[3], asyncio.CancelledError)
    assert all(isinstance(value, bytes) for i, value in enumerate(values) if i != 3)


class Store:
    """MongoDB's answers, counted; only `find_current_vouchers` is asked for here."""

    def __init__(self, held: Voucher) -> None:
        self.held = held
        self.reads = 0

    async def find_current_vouchers(
        self, user_ids: Sequence[UUID], now: datetime, *, newest: bool
    ) -> dict[UUID, Voucher]:
        assert not newest
        self.reads += len(user_ids)
        return {one: self.held for one in user_ids if one == self.held.user_id and now < self.held.expire_at}


@pytest.fixture
async def broken_valkey(servers: Servers, settings: Settings) -> AsyncIterator[Redis]:
    """A Valkey that stopped answering with its connections open: the worst way to be away."""
    process = servers.process("valkey")
    async with connect_valkey(settings, "test") as client:
        await client.ping()
        stop(process.pid)
        try:
            yield client
        finally:
            process.send(signal.SIGCONT)


async def test_without_an_answer_from_valkey_the_database_is_asked(broken_valkey: Redis) -> None:
    user = uuid4()
    held = a_voucher(user)
    store = Store(held)
    promotions = Vouchers(store, VoucherCache(broken_valkey, 300, 1))  # type: ignore[arg-type]
    shown = await asyncio.gather(*(promotions.current_voucher(user) for _ in range(50)))
    assert set(shown) == {held.to_json()}
    assert store.reads == 50


async def test_a_voucher_about_to_be_spent_is_hidden_though_the_cache_is_being_left_alone(
    servers: Servers, valkey: Redis, cache: VoucherCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    await cache.put([voucher(user)], NOW)
    monkeypatch.setattr(voucher_cache, "_PAUSE_SECONDS", 600)
    process = servers.process("valkey")
    stop(process.pid)
    try:
        assert await cache.get(user) is Noted.NOTHING
    finally:
        process.send(signal.SIGCONT)
    await cache.bypass(user, 120)
    assert await valkey.get(f"voucher:{user}") == Noted.BYPASS.value


async def test_valkey_killed_and_started_again_under_reads_costs_no_answer(
    servers: Servers, valkey: Redis
) -> None:
    user = uuid4()
    held = a_voucher(user)
    promotions = Vouchers(Store(held), VoucherCache(valkey, 300, 1))  # type: ignore[arg-type]
    shown: list[bytes | None] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            shown.append(await promotions.current_voucher(user))
            await asyncio.sleep(0)

    readers = [asyncio.create_task(read()) for _ in range(8)]
    process = servers.process("valkey")
    await process.kill()
    before = len(shown)
    await process.start()
    while len(shown) < before + 200:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*readers)
    assert set(shown) == {held.to_json()}


async def test_a_reader_who_found_a_voucher_covers_an_older_absence_and_nothing_else(
    cache: VoucherCache, valkey: Redis
) -> None:
    """Or a voucher that somebody was shown would vanish again for a second: seen in the simulation."""
    user = uuid4()
    found, other = voucher(user), voucher(uuid4(), days=2)
    await cache.fill({user: None}, NOW)
    await cache.fill({user: found}, NOW)
    assert await cache.get(user) == found.to_json()
    assert await valkey.pttl(f"voucher:{user}") > 1000
    for noted in (replace(other, user_id=user, description="newer").to_json(), Noted.BYPASS.value):
        await valkey.set(f"voucher:{user}", noted)
        await cache.fill({user: found}, NOW)
        assert await valkey.get(f"voucher:{user}") == noted


class Watched(RedemptionStore):
    """Notes what the cache said of the owner when each transaction began."""

    def __init__(self, database: Database, cache: VoucherCache, owner: UUID) -> None:
        super().__init__(database)
        self._watched_cache = cache
        self._owner = owner
        self.said: list[object] = []

    async def _in_transaction(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        self.said.append(await self._watched_cache.get(self._owner))
        return await super()._in_transaction(work)


async def test_whatever_is_done_with_a_voucher_its_readers_are_sent_to_the_newest_data_before(
    mongo: Client, valkey: Redis, cache: VoucherCache
) -> None:
    """Or a process that dies after the commit leaves the old answer on display."""
    customer, manager = uuid7(), Caller(uuid7(), ("campaign_manager",), 0)
    await put_voucher(mongo, customer)
    store = Watched(mongo["promotions"], cache, customer)
    redemptions = Redemptions(store, cache, customers_may_refund=True)
    order = Order("topup-1", 100_000, "VND")

    async def forget() -> None:
        await valkey.flushall()

    me = Caller(customer, ("customer",), 0)
    released = await redemptions.reserve(customer, "a", order)
    await forget()
    await redemptions.release(customer, released.id)
    await forget()
    held = await redemptions.reserve(customer, "b", order)
    await forget()
    await redemptions.confirm(customer, held.id)
    await forget()
    await redemptions.refund(held.id, me)
    await forget()
    spent = await redemptions.redeem(customer, "c", order)
    await forget()
    await redemptions.refund(spent.id, manager)
    assert store.said == [Noted.BYPASS] * 7
