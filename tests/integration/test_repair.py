"""`earlybird repair-ledger` where the runbook does not go: what it leaves as it is."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis
from test_runbook import Working, ledger, refill_by_hand, with_ten_judged
from workers import workers

from earlybird.errors import Failure
from earlybird.events import STREAM
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Difference, prove_ledger
from earlybird.operations.repair import refill_ledger


@pytest.fixture
def working(mongo: Client, broker: NatsClient, valkey: Redis) -> Working:
    """Runs the workers for the length of a block."""
    return lambda: workers(mongo, broker, valkey)


async def test_entries_lost_at_the_ledgers_end_are_put_back_too(
    mongo: Client, broker: NatsClient, working: Working
) -> None:
    await with_ten_judged(mongo, working)
    before = await ledger(mongo)
    await mongo["identity"]["ledger"].delete_many({"_id": {"$in": [9, 10]}})
    with pytest.raises(Difference, match="ledger: the head says 10, the last entry is 8"):
        await prove_ledger(mongo, broker.jetstream())
    assert await refill_ledger(mongo, broker.jetstream()) == [9, 10]
    assert await ledger(mongo) == before
    assert await refill_ledger(mongo, broker.jetstream()) == []


async def forge(mongo: Client, broker: NatsClient) -> None:
    entries = await ledger(mongo)
    entries[3] = replace(entries[4], n=4)
    entries[3] = replace(entries[3], first_login_at=entries[3].first_login_at.replace(year=2000))
    await refill_by_hand(broker, [entry.to_json() for entry in entries])


async def lose_stream(_: Client, broker: NatsClient) -> None:
    await broker.jetstream().delete_stream(STREAM)


async def number_anew(mongo: Client, _: NatsClient) -> None:
    entry = (await ledger(mongo))[3]
    again = {"_id": 11, "user_id": entry.user_id, "first_login_at": entry.first_login_at}
    await mongo["identity"]["ledger"].delete_one({"_id": 4})
    await mongo["identity"]["ledger"].insert_one(again)


@pytest.mark.parametrize(
    ("mischief", "said"),
    [
        (lose_stream, "entry 4 is neither in the ledger nor in the stream"),
        (forge, "message 4 of the stream is of no first login that the users know"),
        (number_anew, "who has another number now"),
    ],
)
async def test_a_ledger_that_the_stream_cannot_mend_is_left_as_it_is(
    mischief: Callable[[Client, NatsClient], Awaitable[None]],
    said: str,
    mongo: Client,
    broker: NatsClient,
    working: Working,
) -> None:
    await with_ten_judged(mongo, working)
    await mischief(mongo, broker)
    await mongo["identity"]["ledger"].delete_one({"_id": 4})
    before = await ledger(mongo)
    with pytest.raises(Failure, match=said):
        await refill_ledger(mongo, broker.jetstream())
    assert await ledger(mongo) == before
