"""The sequencer seals what it appends; what an older version appended gets its seals in order, while it runs."""

import asyncio
from datetime import UTC, datetime

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, running, until_numbered
from redis.asyncio import Redis
from workers import workers

from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import HeadMoved, Ledger
from earlybird.identity.migrations import m004_seals
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Difference, prove_ledger


async def seals(mongo: Client) -> list[bytes | None]:
    return [entry.get("seal") async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]


async def expected(mongo: Client) -> list[bytes]:
    ledger = Ledger(mongo["identity"])
    return list(seal_each(await ledger.secret(), FIRST_SEAL, await ledger.read_after(0, 10_000)))


async def test_each_entry_is_sealed_with_all_before_it(mongo: Client) -> None:
    users = await add_users(mongo, 40)
    async with running(Sequencer(Ledger(mongo["identity"]), asyncio.Event())):
        await log_in_first(mongo, users[:20])
        await until_numbered(mongo, 20)
    async with running(Sequencer(Ledger(mongo["identity"]), asyncio.Event())):
        await log_in_first(mongo, users[20:])
        await until_numbered(mongo, 40)
    assert await seals(mongo) == await expected(mongo)
    assert len(set(await seals(mongo))) == 40


@pytest.mark.parametrize("older", [range(1, 21), range(13, 21)], ids=["all", "the last"])
async def test_entries_of_an_older_version_get_their_seals_and_the_audit_passes(
    older: range, mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 30)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:20])
        await until_numbered(mongo, 20)
    before = await seals(mongo)
    await mongo["identity"]["ledger"].update_many({"_id": {"$in": list(older)}}, {"$unset": {"seal": ""}})
    with pytest.raises(Difference, match=f"ledger: entry {older[0]} has no seal"):
        await prove_ledger(mongo, broker.jetstream())
    newcomer = FirstLoginCommitted(users[20], datetime.now(UTC))
    with pytest.raises(HeadMoved):
        await Ledger(mongo["identity"]).append(20, [newcomer])
    async with workers(mongo, broker, valkey):  # the version that seals begins
        await log_in_first(mongo, users[20:])
        await until_numbered(mongo, 30)
    assert (await seals(mongo))[:20] == before
    assert await seals(mongo) == await expected(mongo)


async def test_the_migration_seals_beside_another_run_of_itself(mongo: Client) -> None:
    users = await add_users(mongo, 60)
    async with running(Sequencer(Ledger(mongo["identity"]), asyncio.Event())):
        await log_in_first(mongo, users)
        await until_numbered(mongo, 60)
    before = await seals(mongo)
    await mongo["identity"]["ledger"].update_many({}, {"$unset": {"seal": ""}})
    await asyncio.gather(*(m004_seals(mongo["identity"]) for _ in range(4)))
    await m004_seals(mongo["identity"])
    assert await seals(mongo) == before


async def test_a_seal_that_does_not_fit_is_found(mongo: Client, broker: NatsClient, valkey: Redis) -> None:
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, await add_users(mongo, 5))
        await until_numbered(mongo, 5)
    await mongo["identity"]["ledger"].update_one({"_id": 3}, {"$set": {"seal": bytes(32)}})
    with pytest.raises(Difference, match="ledger: the seal of entry 3 does not fit the entries up to it"):
        await prove_ledger(mongo, broker.jetstream())
