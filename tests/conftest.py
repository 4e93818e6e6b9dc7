"""Fixtures for every tier that needs servers: real MongoDB, NATS and Valkey, started once, emptied per test."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import nats.js.errors
import pytest
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from deployments import Deployment
from earlybird.events import STREAM, VOUCHER_STREAM
from earlybird.identity.app import migrate_identity
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.infra.valkey import connect_valkey
from earlybird.promotions.app import migrate_promotions
from earlybird.settings import Settings
from earlybird.stack.servers import Servers, running_servers

# A busy machine is no fault of the code: what an example takes is measured in bench/.
hypothesis.settings.register_profile("earlybird", deadline=None, max_examples=60)
hypothesis.settings.load_profile("earlybird")
# For mutation testing: quickly, and always alike.
hypothesis.settings.register_profile("mutants", max_examples=40, derandomize=True, database=None, deadline=None)


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """One mongod (a replica set of one, test commands on), one nats-server, one Valkey, for the whole session."""
    async with running_servers(tmp_path_factory.mktemp("servers") / "data", test_commands=True) as servers:
        yield servers


@pytest.fixture
def settings(servers: Servers, tmp_path: Path) -> Settings:
    """Settings that point at the servers, with the cheapest password hashing."""
    return Settings(
        mongodb_uri=servers.mongodb_uri,
        nats_url=servers.nats_url,
        valkey_url=servers.valkey_url,
        signing_key_folder=tmp_path / "signing-keys",
        password_memory_kib=8,
        password_iterations=1,
    )


@pytest.fixture
async def mongo(settings: Settings, broker: NatsClient, valkey: Redis) -> AsyncIterator[Client]:
    """A client on empty, migrated databases; stream and cache are empty too."""
    for stream in (STREAM, VOUCHER_STREAM):
        with suppress(nats.js.errors.NotFoundError):
            await broker.jetstream().delete_stream(stream)
    await valkey.flushall()
    async with connect_mongo(settings, "test") as client:
        for database in (client["identity"], client["promotions"]):
            for collection in await database.list_collection_names():
                await database[collection].delete_many({})
        await migrate_identity(settings)
        await migrate_promotions(settings)
        yield client


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[NatsClient]:
    """A connection to NATS."""
    async with connect_nats(settings, "test") as client:
        yield client


@pytest.fixture
async def valkey(settings: Settings) -> AsyncIterator[Redis]:
    """A connection to Valkey."""
    async with connect_valkey(settings, "test") as client:
        yield client


@pytest.fixture(scope="module")
async def second(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Servers of their own."""
    async with running_servers(tmp_path_factory.mktemp("second") / "data") as servers:
        settings = Settings(
            mongodb_uri=servers.mongodb_uri, nats_url=servers.nats_url, valkey_url=servers.valkey_url
        )
        async with (
            connect_mongo(settings, "test") as mongo,
            connect_nats(settings, "test") as broker,
            connect_valkey(settings, "test") as valkey,
        ):
            yield Deployment(settings, mongo, broker, valkey)


@pytest.fixture
async def empty(second: Deployment) -> Deployment:
    """The same with nothing in it."""
    for database in ("identity", "promotions"):
        await second.mongo.drop_database(database)
    for stream in (STREAM, VOUCHER_STREAM):
        with suppress(nats.js.errors.NotFoundError):
            await second.broker.jetstream().delete_stream(stream)
    return second
