"""NATS may close a connection for good, as when it has too many: the process ends, and a new one begins anew."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from people import open_campaign
from redis.asyncio import Redis
from services import Ports, environment, serving, until_ready

from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.infra.processes import Role
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.events.publisher import Publisher
from earlybird.promotions.granting.caretaker import Caretaker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.settings import Settings
from earlybird.stack import binaries
from free_ports import free_port


@asynccontextmanager
async def nats_with_few_connections(folder: Path) -> AsyncIterator[tuple[str, Callable[[int], None]]]:
    """Give the URL of a NATS server, and what sets how many connections it has at most."""
    port, config = free_port(), folder / "nats.conf"
    settings = {"listen": f"127.0.0.1:{port}", "jetstream": {"store_dir": str(folder / "nats")}}

    def limit(connections: int) -> None:
        config.write_text(json.dumps({**settings, "max_connections": connections}))
        server.send_signal(signal.SIGHUP)

    config.write_text(json.dumps(settings))
    command, quiet = (str(binaries.find_nats_server()), "-c", str(config)), asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        yield f"nats://127.0.0.1:{port}", limit
    finally:
        server.terminate()
        await server.wait()


async def test_a_process_that_nats_refuses_to_serve_any_longer_ends(
    settings: Settings, mongo: Client, tmp_path: Path
) -> None:
    assert await mongo["identity"]["ledger"].count_documents({}) == 0
    ports = Ports()
    async with (
        nats_with_few_connections(tmp_path) as (url, limit),
        serving(environment(settings, ports, EARLYBIRD_NATS_URL=url), "relay", "granter") as process,
        httpx2.AsyncClient() as http,
    ):
        await until_ready(http, ports.relay, ports.granter)
        limit(1)
        async with asyncio.timeout(30):
            _, error = await process.communicate()
    assert process.returncode == 1
    assert error.decode().startswith("earlybird: NATS does not answer")


@pytest.mark.parametrize("name", ["relay", "granter", "publisher", "caretaker"])
async def test_no_worker_goes_on_without_a_connection(
    name: str, mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    jetstream, database = broker.jetstream(), mongo["promotions"]
    store, cache, campaigns = GrantStore(database), VoucherCache(valkey, 300, 1), CampaignStore(database)
    workers: dict[str, Role] = {
        "relay": Relay(Ledger(mongo["identity"]), jetstream, 1, asyncio.Event()),
        "granter": Granter(jetstream, store, cache),
        "publisher": Publisher(Outbox(database), jetstream, 1),
        "caretaker": Caretaker(jetstream, campaigns, store, cache),
    }
    await open_campaign(mongo, 1)
    await database["campaigns"].update_one({}, {"$set": {"reread_n": 0}})  # so that the caretaker reads the stream
    await broker.close()
    with pytest.raises(nats.errors.ConnectionClosedError):
        async with asyncio.timeout(10):
            await workers[name].run()
