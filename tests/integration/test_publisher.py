"""The publisher: what happened to vouchers is told once, causes before effects, whatever fails meanwhile."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, Header, StreamConfig
from nats.js.errors import BadRequestError
from people import running, told, until_told
from pymongo.asynchronous.client_session import AsyncClientSession
from uuid_utils.compat import uuid7

from earlybird.events import VOUCHER_STREAM, VOUCHER_SUBJECTS, VoucherEvent, VoucherGranted, VoucherRedeemed
from earlybird.infra.mongo import Client, in_transaction
from earlybird.infra.nats import Message, publish_in_order
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.events.publisher import Publisher


def granted(position: int) -> VoucherGranted:
    now = datetime.now(UTC)
    ids = {"voucher_id": uuid7(), "user_id": uuid7(), "campaign_id": uuid7()}
    return VoucherGranted(time=now, position=position, discount=30, expire_at=now, **ids)


def redeemed(voucher: VoucherEvent, amount: int = 100) -> VoucherRedeemed:
    return VoucherRedeemed(
        voucher_id=voucher.voucher_id, user_id=voucher.user_id, campaign_id=voucher.campaign_id,
        time=datetime.now(UTC), redemption_id=uuid7(), order_id="topup-1", amount=amount, discount_amount=30,
        payable_amount=amount - 30, currency="VND",
    )  # fmt: skip


async def commit(mongo: Client, *events: VoucherEvent) -> None:
    """Write events as a service does: in a transaction of their own."""
    outbox = Outbox(mongo["promotions"])
    await in_transaction("test", mongo["promotions"], lambda session: outbox.add(session, events))


def publisher(mongo: Client, jetstream: JetStreamContext) -> Publisher:
    return Publisher(Outbox(mongo["promotions"]), jetstream, 1)


async def test_every_event_is_told_once_in_the_order_of_the_commits(mongo: Client, broker: NatsClient) -> None:
    expected: list[VoucherEvent] = []
    async with running(publisher(mongo, broker.jetstream())):
        for size in (1, 2, 700, 3):  # also more than one batch
            events = [granted(position) for position in range(1, size + 1)]
            await commit(mongo, *events)
            await commit(mongo, redeemed(events[-1]))
            expected += events
        await until_told(mongo)
    found = await told(broker)
    grants = [event for event in found if event["type"] == VoucherGranted.type]
    assert [event["id"] for event in grants] == [event.id for event in expected]
    assert len(found) == len(expected) + 4
    for at, event in enumerate(found):
        if event["type"] == VoucherRedeemed.type:
            assert event["data"]["voucher_id"] == found[at - 1]["data"]["voucher_id"], (
                "its cause is just before it"
            )


async def test_what_was_not_committed_is_not_told(mongo: Client, broker: NatsClient) -> None:
    outbox, kept = Outbox(mongo["promotions"]), granted(1)

    async def broken(session: AsyncClientSession) -> None:
        await outbox.add(session, [granted(9)])
        raise LookupError

    async with running(publisher(mongo, broker.jetstream())):
        with pytest.raises(LookupError):
            await in_transaction("test", mongo["promotions"], broken)
        await commit(mongo, kept)
        await until_told(mongo)
    assert [event["id"] for event in await told(broker)] == [kept.id]


async def test_publishers_side_by_side_tell_each_event_once(mongo: Client, broker: NatsClient) -> None:
    expected = [granted(position) for position in range(1, 301)]
    async with running(*(publisher(mongo, broker.jetstream()) for _ in range(3))):
        for start in range(0, 300, 20):
            await commit(mongo, *expected[start : start + 20])
        await until_told(mongo)
    assert sorted(event["id"] for event in await told(broker)) == sorted(event.id for event in expected)


async def test_an_event_whose_acknowledgement_was_lost_is_sent_again_and_stands_there_once(
    mongo: Client, broker: NatsClient
) -> None:
    """As after a crash between publish and removal: the stream knows the id."""
    event = granted(1)
    for _ in range(2):
        await commit(mongo, event)
        async with running(publisher(mongo, broker.jetstream())):
            await until_told(mongo)
    assert [event["id"] for event in await told(broker)] == [event.id]


async def test_a_voucher_that_is_granted_anew_after_a_restore_is_told_anew(
    mongo: Client, broker: NatsClient
) -> None:
    """In another place, or in the same one a moment later; the stream remembers what was before the restore."""
    first = granted(1)
    again = [replace(first, position=2), replace(first, expire_at=first.expire_at + timedelta(milliseconds=1))]
    async with running(publisher(mongo, broker.jetstream())):
        for event in (first, *again):
            await commit(mongo, event)
            await until_told(mongo)
    assert [event["data"] for event in await told(broker)] == [
        json.loads(event.to_json())["data"] for event in (first, *again)
    ]


async def test_a_grant_that_is_repeated_after_a_restore_has_the_same_id(mongo: Client, broker: NatsClient) -> None:
    first = granted(1)
    async with running(publisher(mongo, broker.jetstream())):
        for event in (first, replace(first, time=first.time + timedelta(hours=1))):
            await commit(mongo, event)
            await until_told(mongo)
    assert [event["id"] for event in await told(broker)] == [first.id]


async def test_an_event_stays_in_the_outbox_until_the_stream_has_it(mongo: Client, broker: NatsClient) -> None:
    events, jetstream = [granted(position) for position in range(1, 4)], broker.jetstream()
    full = StreamConfig(VOUCHER_STREAM, subjects=[VOUCHER_SUBJECTS], max_msgs=1, discard=DiscardPolicy.NEW)
    await jetstream.add_stream(full)
    async with running(publisher(mongo, jetstream)):
        await commit(mongo, *events)
        async with asyncio.timeout(30):
            while not (await jetstream.stream_info(VOUCHER_STREAM)).state.messages:
                await asyncio.sleep(0.01)
        assert await mongo["promotions"]["outbox"].count_documents({}) == 3, "one is there, two were refused"
        await jetstream.update_stream(full.evolve(max_msgs=-1))
        await until_told(mongo)
    assert [event["id"] for event in await told(broker)] == [event.id for event in events]


async def test_a_refusal_reaches_the_one_who_publishes(broker: NatsClient, mongo: Client) -> None:
    """Not the time-out of an acknowledgement that never comes: a relay that was overtaken goes on at once."""
    jetstream = broker.jetstream()
    await jetstream.add_stream(StreamConfig(VOUCHER_STREAM, subjects=[VOUCHER_SUBJECTS]))
    subject = VoucherGranted.type
    sequences = [Message(subject, b"", {Header.EXPECTED_LAST_SEQUENCE: str(last)}) for last in (0, 1, 7, 8)]
    with pytest.raises(BadRequestError, match="wrong last sequence"):
        await publish_in_order(jetstream, sequences)
    assert (await jetstream.stream_info(VOUCHER_STREAM)).state.last_seq == 2
    assert await mongo["promotions"]["outbox"].count_documents({}) == 0


async def test_a_stream_that_was_deleted_is_made_again_for_what_comes(mongo: Client, broker: NatsClient) -> None:
    first, second = granted(1), granted(2)
    async with running(publisher(mongo, broker.jetstream())):
        await commit(mongo, first)
        await until_told(mongo)
        await broker.jetstream().delete_stream(VOUCHER_STREAM)
        await commit(mongo, second)
        await until_told(mongo)
    assert [event["id"] for event in await told(broker)] == [second.id]


async def test_another_system_reads_at_its_own_pace_with_a_durable_consumer(
    mongo: Client, broker: NatsClient
) -> None:
    """As docs/asyncapi.yaml tells it to."""
    events = [granted(position) for position in range(1, 11)]
    await commit(mongo, *events)
    async with running(publisher(mongo, broker.jetstream())):
        await until_told(mongo)
    name, seen = f"reader-{uuid4().hex}", list[UUID]()
    for _ in range(2):  # it stops in between, and goes on where it was
        reader = await broker.jetstream().pull_subscribe(VOUCHER_SUBJECTS, durable=name, stream=VOUCHER_STREAM)
        for message in await reader.fetch(5, timeout=5):
            seen.append(UUID(json.loads(message.data)["data"]["voucher_id"]))
            await message.ack_sync()
        await reader.unsubscribe()
    assert seen == [event.voucher_id for event in events]
