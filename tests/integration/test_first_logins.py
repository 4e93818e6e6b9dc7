"""Reading the stream: what was sent and never arrived is noticed, though nothing comes after it."""

import json

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, until_judged, until_numbered
from redis.asyncio import Redis
from workers import workers

from earlybird.events import STREAM
from earlybird.infra.mongo import Client
from earlybird.promotions.granting.first_logins import Undelivered, first_logins_from


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


async def consumers(broker: NatsClient) -> int:
    return (await broker.jetstream().stream_info(STREAM)).state.consumer_count
