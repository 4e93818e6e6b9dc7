"""Roles wait for the schema that they need: nothing works on, or serves, one that is older."""

import asyncio

import httpx2
import pytest
from people import add_users, log_in_first, until_logged, until_numbered
from services import Ports, environment, serving_here, until_ready
from structlog.testing import capture_logs

from earlybird.errors import NotMigrated
from earlybird.identity import migrations as identity
from earlybird.infra.mongo import Client, Database, Schema
from earlybird.settings import Settings


async def m999_a_later_one(database: Database) -> None: ...


async def test_an_older_schema_is_told_and_a_newer_one_will_do(mongo: Client) -> None:
    database, names = mongo["identity"], identity.MIGRATIONS
    await Schema(database, names).check()
    await Schema(database, names[:-1]).check()
    with pytest.raises(NotMigrated, match="earlybird migrate"):
        await Schema(database, [*names, m999_a_later_one]).check()


async def test_who_waits_goes_on_when_the_last_migration_is_noted(mongo: Client) -> None:
    database = mongo["identity"]
    waiting = asyncio.create_task(Schema(database, [*identity.MIGRATIONS, m999_a_later_one]).wait())
    done, _ = await asyncio.wait({waiting}, timeout=1)
    assert not done
    await database["migrations"].insert_one({"_id": m999_a_later_one.__name__})
    try:
        async with asyncio.timeout(10):
            await waiting
    finally:
        await database["migrations"].delete_one({"_id": m999_a_later_one.__name__})


async def test_no_role_is_ready_and_no_worker_works_until_the_schema_is_there(
    settings: Settings, mongo: Client
) -> None:
    await log_in_first(mongo, await add_users(mongo, 1))
    noted = await mongo["identity"]["migrations"].find_one_and_delete({"_id": identity.MIGRATIONS[-1].__name__})
    assert noted is not None
    ports = Ports()
    here = serving_here(environment(settings, ports), "identity", "relay")
    async with httpx2.AsyncClient() as http:
        with capture_logs() as logs:
            async with here:
                await until_logged(logs, "waits_for_schema")
                answer = await http.get(f"http://127.0.0.1:{ports.identity}/readyz")
                assert "schema" in answer.json()["message"]
                assert await mongo["identity"]["ledger"].find_one({}) is None
                await mongo["identity"]["migrations"].insert_one(noted)
                await until_numbered(mongo, 1)
                await until_ready(http, ports.identity, ports.relay)
