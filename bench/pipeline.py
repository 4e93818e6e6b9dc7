"""The grant pipeline, worker by worker, each on one core with all its work waiting: rates, and CPU per entry."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvloop
from lab import MEASURED_CORE, Lab, laboratory
from uuid_utils.compat import uuid7

from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.infra.valkey import connect_valkey
from earlybird.infra.workers import Worker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.settings import Settings


async def log_in_first(client: Client, count: int) -> None:
    """Have so many people log in for the first time, without anything else of a login."""
    users, ids, now = client["identity"]["users"], [uuid7() for _ in range(count)], datetime.now(UTC)
    names = ({"_id": one, "username": str(one), "email": str(one), "phone": str(one)} for one in ids)
    await users.insert_many([name | {"is_first_login": 1} for name in names])
    await users.update_many({"is_first_login": 1}, {"$set": {"is_first_login": 0, "first_login_at": now}})


async def until_done(worker: Worker, is_done: Callable[[], Awaitable[bool]], count: int) -> tuple[float, float]:
    """Run a worker until its work is done; return entries a second, and µs of CPU for each."""
    started, cpu = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run())
    while not await is_done():  # noqa: ASYNC110  # no event tells
        await asyncio.sleep(0.02)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return count / took, cpu / count * 1e6


async def one_round(
    lab: Lab, settings: Settings, before: int, count: int, vouchers: int
) -> dict[str, tuple[float, float]]:
    """Measure sequencer, relay and granter over so many first logins."""
    async with (
        connect_mongo(settings, "bench") as client,
        connect_nats(settings, "bench") as broker,
        connect_valkey(settings, "bench") as valkey,
    ):
        await log_in_first(client, count)
        await lab.open_campaign(vouchers)
        jetstream, last = broker.jetstream(timeout=10), before + count
        ledger = Ledger(client["identity"])

        async def in_ledger() -> bool:
            return (await ledger.head()).n == last

        async def in_stream() -> bool:
            try:
                return (await jetstream.stream_info("first-logins")).state.last_seq == last
            except Exception:  # noqa: BLE001  # not made yet
                return False

        store = GrantStore(client["promotions"])

        async def judged() -> bool:
            return await store.cursor() == last

        found = {"sequencer": await until_done(Sequencer(ledger, asyncio.Event()), in_ledger, count)}
        found["relay"] = await until_done(Relay(ledger, jetstream, 1, asyncio.Event()), in_stream, count)
        granter = Granter(jetstream, store, VoucherCache(valkey, 300, 1))
        found["granter"] = await until_done(granter, judged, count)
        return found


@asynccontextmanager
async def on_the_measured_core() -> AsyncIterator[None]:
    """Have this process the measured core to itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {MEASURED_CORE})
    yield
    os.sched_setaffinity(0, before)


async def measure(lab: Lab, count: int, rounds: int) -> None:
    settings = Settings(
        mongodb_uri=lab.environment["EARLYBIRD_MONGODB_URI"],
        nats_url=lab.environment["EARLYBIRD_NATS_URL"],
        valkey_url=lab.environment["EARLYBIRD_VALKEY_URL"],
        mongodb_timeout_seconds=60,
    )
    async with on_the_measured_core():
        for round_ in range(rounds):
            winning = round_ % 2
            found = await one_round(lab, settings, round_ * count, count, count if winning else 1)
            print(
                "all win" if winning else "sold out",
                {k: f"{v[0]:.0f}/s {v[1]:.0f} µs" for k, v in found.items()},
                flush=True,
            )


async def main(count: int, rounds: int) -> None:
    async with laboratory() as lab:
        await measure(lab, count, rounds)


if __name__ == "__main__":
    uvloop.run(main(*map(int, [*sys.argv[1:], "10000", "4"][:2])))
