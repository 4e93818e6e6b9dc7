"""The grant pipeline, worker by worker, each on one core with all its work waiting: rates, and CPU per entry."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog
import uvloop
from figures import Figure, median, progress
from lab import MEASURED_CORE, Lab, laboratory, on_core
from uuid_utils.compat import uuid7

from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.infra.processes import cancel_until_done
from earlybird.infra.pulling import BulkJetStream
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
    await cancel_until_done([running])
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
        await lab.open_campaign(vouchers)
        await log_in_first(client, count)
        jetstream, last = BulkJetStream(broker, timeout=10), before + count
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


async def measure_with(lab: Lab, count: int, rounds: int) -> list[Figure]:
    """Measure, and return the figures."""
    settings = Settings(
        mongodb_uri=lab.environment["EARLYBIRD_MONGODB_URI"],  # type: ignore[arg-type]
        nats_url=lab.environment["EARLYBIRD_NATS_URL"],  # type: ignore[arg-type]
        valkey_url=lab.environment["EARLYBIRD_VALKEY_URL"],  # type: ignore[arg-type]
        mongodb_timeout_seconds=60,
    )
    found: dict[str, list[tuple[float, float]]] = {}
    gc.freeze()
    gc.set_threshold(10_000)  # as `earlybird serve` does
    with on_core(MEASURED_CORE):
        for round_ in range(rounds):
            all_win = bool(round_ % 2)
            one = await one_round(lab, settings, round_ * count, count, count if all_win else 1)
            for name, measured in one.items():
                label = f"granter, {'all win' if all_win else 'sold out'}" if name == "granter" else name
                found.setdefault(label, []).append(measured)

    def middle(name: str, column: int) -> float:
        return median([one[column] for one in found[name]])

    return [
        Figure(
            "pipeline", "sequencer: first logins a second on one core", middle("sequencer", 0), "/s", at_least=5000
        ),
        Figure("pipeline", "sequencer: CPU for each", middle("sequencer", 1), "µs"),
        Figure("pipeline", "relay: entries a second on one core", middle("relay", 0), "/s"),
        Figure("pipeline", "relay: CPU for each", middle("relay", 1), "µs"),
        Figure(
            "pipeline", "granter: events a second, sold out", middle("granter, sold out", 0), "/s", at_least=10_000
        ),
        Figure("pipeline", "granter: CPU for each, sold out", middle("granter, sold out", 1), "µs", at_most=20),
        Figure("pipeline", "granter: events a second, all win", middle("granter, all win", 0), "/s"),
        Figure("pipeline", "granter: CPU for each, all win", middle("granter, all win", 1), "µs"),
    ]


async def measure(count: int = 5000, rounds: int = 10) -> list[Figure]:
    """Measure, and return the figures."""
    progress("sequencer, relay and granter, each by itself")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    async with laboratory() as lab:
        return await measure_with(lab, count, rounds)


if __name__ == "__main__":
    for figure in uvloop.run(measure(*map(int, sys.argv[1:]))):
        print(figure)
