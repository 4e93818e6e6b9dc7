"""Reading the stream: what was sent and never arrived is noticed, though nothing comes after it."""

import asyncio
import json

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, until_judged, until_numbered
from redis.asyncio import Redis
from workers import workers

from earlybird.events import STREAM
from earlybird.infra.mongo import Client
from earlybird.infra.pulling import BulkJetStream
from earlybird.promotions.granting.first_logins import BATCH, Undelivered, first_logins_from


async def lose_next(broker: NatsClient, consumer: str) -> None:
    """Have NATS send the consumer's next message to somebody else, as to a connection that is just breaking."""
    inbox = broker.new_inbox()
    elsewhere = await broker.subscribe(inbox)
    request = json.dumps({"batch": 1}).encode()
    await broker.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}", request, reply=inbox)
    await elsewhere.next_msg(timeout=10)
    await elsewhere.unsubscribe()


async def test_a_message_that_was_lost_on_its_way_is_noticed_though_it_was_the_last(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    async with workers(mongo, broker, valkey, copies=0):
        await log_in_first(mongo, await add_users(mongo, 3))
        await until_numbered(mongo, 3)
        async with first_logins_from(broker.jetstream(), 3) as stream:
            await lose_next(broker, (await stream._subscription.consumer_info()).name)
            with pytest.raises(Undelivered):
                await stream.next_batch()
        async with first_logins_from(broker.jetstream(), 1) as stream:
            assert [event.n for event in await stream.next_batch()] == [1, 2, 3]
            assert await stream.next_batch() == []


async def test_whoever_is_behind_reads_full_batches_and_who_has_caught_up_what_there_is(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    count = 2 * BATCH + 10
    async with workers(mongo, broker, valkey, copies=0):
        await log_in_first(mongo, await add_users(mongo, count))
        await until_numbered(mongo, count)
        await until_told(broker, count)
        async with first_logins_from(BulkJetStream(broker), 1) as stream:
            batches = [[event.n for event in await stream.next_batch()] for _ in range(3)]
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 10]
    assert [n for batch in batches for n in batch] == list(range(1, count + 1))


async def test_granters_that_overtake_each_other_leave_no_consumers_behind(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 60)
    async with workers(mongo, broker, valkey, copies=3):
        for n, user in enumerate(users, start=1):
            await log_in_first(mongo, [user])
            await until_judged(mongo, n)
        assert await consumers(broker) <= 2 * 3  # of granters and placers
    assert await consumers(broker) == 0


async def until_told(broker: NatsClient, count: int) -> None:
    async with asyncio.timeout(30):
        while (await broker.jetstream().stream_info(STREAM)).state.last_seq < count:
            await asyncio.sleep(0.02)


async def consumers(broker: NatsClient) -> int:
    return (await broker.jetstream().stream_info(STREAM)).state.consumer_count
