"""Pulling in bulk, on a real NATS: order, bounds, and what is said when nothing comes or the consumer is gone."""

import asyncio
from collections.abc import AsyncIterator

import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from earlybird.infra.pulling import BulkJetStream, PullConsumer

STREAM, SUBJECT = "pulled", "pulled.one"


@pytest.fixture
async def jetstream(broker: NatsClient) -> AsyncIterator[BulkJetStream]:
    jetstream = BulkJetStream(broker, timeout=2)
    await jetstream.add_stream(name=STREAM, subjects=[SUBJECT])
    yield jetstream
    await jetstream.delete_stream(STREAM)


async def consumer_from(jetstream: BulkJetStream, first: int) -> PullConsumer:
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first, ack_policy=AckPolicy.NONE
    )
    return await jetstream.pull_subscribe(SUBJECT, stream=STREAM, config=config)


async def publish(jetstream: BulkJetStream, *numbers: int) -> None:
    for number in numbers:
        await jetstream.publish(SUBJECT, str(number).encode())


async def read(consumer: PullConsumer, count: int, batch: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        messages = await consumer.fetch(batch, timeout=2)
        assert 0 < len(messages) <= batch
        found += [int(message.data) for message in messages]
    return found


@pytest.mark.parametrize("batch", [1, 7, 100, 500])
async def test_all_messages_come_once_and_in_order(jetstream: BulkJetStream, batch: int) -> None:
    await publish(jetstream, *range(1, 251))
    consumer = await consumer_from(jetstream, 51)
    assert await read(consumer, 200, batch) == list(range(51, 251))
    later = asyncio.create_task(read(consumer, 3, batch))
    await publish(jetstream, 251, 252, 253)
    assert await later == [251, 252, 253]
    await consumer.unsubscribe()


async def test_who_waits_in_vain_is_told_and_may_ask_again(jetstream: BulkJetStream) -> None:
    await publish(jetstream, 1)
    consumer = await consumer_from(jetstream, 2)
    for _ in range(2):
        with pytest.raises(nats.errors.TimeoutError):
            await consumer.fetch(10, timeout=0.2)
    await publish(jetstream, 2)
    assert await read(consumer, 1, 10) == [2]
    assert (await consumer.consumer_info()).delivered.stream_seq == 2  # type: ignore[union-attr]
    await consumer.unsubscribe()


async def test_a_consumer_that_is_gone_says_so(jetstream: BulkJetStream) -> None:
    consumer = await consumer_from(jetstream, 1)
    waiting = asyncio.create_task(consumer.fetch(10, timeout=5))
    while (info := await consumer.consumer_info()).num_waiting == 0:
        await asyncio.sleep(0)
    await jetstream.delete_consumer(STREAM, info.name)
    with pytest.raises((nats.js.errors.APIError, nats.errors.TimeoutError)):
        await waiting
    with pytest.raises(nats.js.errors.NotFoundError):
        await consumer.consumer_info()
    await consumer.unsubscribe()
