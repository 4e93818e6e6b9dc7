"""Change stream → ledger → stream → vouchers, on the real servers: the order is the order of commitment."""

import asyncio
from dataclasses import replace
from uuid import UUID

import nats.js.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from people import (
    add_users,
    commit_order,
    log_in_first,
    open_campaign,
    running,
    until_judged,
    until_logged,
    until_numbered,
)
from redis.asyncio import Redis
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import HeadMoved, Ledger
from earlybird.infra.mongo import Client
from earlybird.infra.processes import Role
from earlybird.operations.audit import Audit, Proof
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache


def sequencer(mongo: Client) -> Sequencer:
    return Sequencer(Ledger(mongo["identity"]), asyncio.Event())


def relay(mongo: Client, broker: NatsClient) -> Relay:
    return Relay(Ledger(mongo["identity"]), broker.jetstream(), 1, asyncio.Event())


def granter(mongo: Client, broker: NatsClient, valkey: Redis) -> Granter:
    return Granter(broker.jetstream(), GrantStore(mongo["promotions"]), VoucherCache(valkey, 300, 1))


async def ledger_order(mongo: Client) -> list[UUID]:
    return [entry["user_id"] async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]


async def messages(jetstream: JetStreamContext) -> list[bytes]:
    last = (await jetstream.stream_info(STREAM)).state.last_seq
    return [(await jetstream.get_msg(STREAM, sequence)).data or b"" for sequence in range(1, last + 1)]


async def expected_messages(mongo: Client) -> list[bytes]:
    return [entry.to_json() for entry in await Ledger(mongo["identity"]).read_after(0, 10_000)]


async def audit(mongo: Client, broker: NatsClient) -> list[Proof]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream()).run(proofs.append)
    return proofs


async def test_two_sequencers_number_first_logins_in_the_order_of_commitment(mongo: Client) -> None:
    users = await add_users(mongo, 400)
    async with running(sequencer(mongo), sequencer(mongo)):
        await log_in_first(mongo, users)
        await until_numbered(mongo, 400)
    order = await ledger_order(mongo)
    assert order == [user for user in await commit_order(mongo) if user in set(users)]
    numbers = [entry["_id"] async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]
    assert numbers == list(range(1, 401))


async def test_logging_in_again_is_no_first_login(mongo: Client) -> None:
    users = await add_users(mongo, 20)
    async with running(sequencer(mongo)):
        await log_in_first(mongo, users * 5)
        await until_numbered(mongo, 20)
        first_times = {user["_id"]: user["first_login_at"] async for user in mongo["identity"]["users"].find()}
        await log_in_first(mongo, users)
    assert sorted(await ledger_order(mongo)) == sorted(users)
    assert {user["_id"]: user["first_login_at"] async for user in mongo["identity"]["users"].find()} == first_times


async def test_first_logins_before_the_sequencer_started_keep_their_order(mongo: Client) -> None:
    users = await add_users(mongo, 50)
    await log_in_first(mongo, users)
    async with running(sequencer(mongo)):
        await until_numbered(mongo, 50)
    assert await ledger_order(mongo) == [user for user in await commit_order(mongo) if user in set(users)]


async def test_reconciling_sees_everybody_as_of_one_moment(mongo: Client) -> None:
    ledger, (early, late) = Ledger(mongo["identity"]), await add_users(mongo, 2)
    await log_in_first(mongo, [early])
    async with ledger.all_first_logins() as (moment, users):
        await log_in_first(mongo, [late])  # before anybody is read
        seen = [user.user_id async for user in users]
    head = await ledger.head()
    async with ledger.watch(replace(head, resume_token=None, start_at=moment)) as changes, changes:
        followed = {(await changes.next())["documentKey"]["_id"]}
        if followed == {early}:  # what was committed at the very moment comes again
            followed = {(await changes.next())["documentKey"]["_id"]}
    assert (seen, followed) == ([early], {late})


async def test_when_the_oplog_no_longer_reaches_back_the_missing_are_ordered_by_time(mongo: Client) -> None:
    users = await add_users(mongo, 1203)
    async with running(sequencer(mongo)):
        await log_in_first(mongo, users[:3])
        await until_numbered(mongo, 3)
    await log_in_first(mongo, users[3:1200])
    history_lost = {"failCommands": ["aggregate"], "errorCode": 286, "appName": "earlybird-test"}
    await mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=history_lost)
    async with running(sequencer(mongo), sequencer(mongo)):
        await until_numbered(mongo, 1200)
        await log_in_first(mongo, users[1200:])
        await until_numbered(mongo, 1203)
    order = await ledger_order(mongo)
    by_time = (
        mongo["identity"]["users"].find({"_id": {"$in": users[3:1200]}}).sort([("first_login_at", 1), ("_id", 1)])
    )
    assert order[3:1200] == [user["_id"] async for user in by_time]
    assert set(order[1200:]) == set(users[1200:])


async def test_a_ledger_begun_on_old_data_takes_everybody_who_logged_in_before(mongo: Client) -> None:
    users = await add_users(mongo, 30)
    await log_in_first(mongo, users)
    await mongo["identity"]["head"].update_one(
        {}, {"$set": {"n": 0}, "$unset": {"start_at": "", "resume_token": ""}}
    )
    async with running(sequencer(mongo)):
        await until_numbered(mongo, 30)
    assert set(await ledger_order(mongo)) == set(users)


async def test_appending_on_an_old_head_writes_nothing(mongo: Client) -> None:
    users = await add_users(mongo, 2)
    await log_in_first(mongo, users)
    ledger = Ledger(mongo["identity"])
    committed = [
        FirstLoginCommitted(user["_id"], user["first_login_at"])
        async for user in mongo["identity"]["users"].find()
    ]
    assert await ledger.append(0, committed[:1]) == 1
    with pytest.raises(HeadMoved):
        await ledger.append(0, committed[1:])
    assert len(await ledger_order(mongo)) == 1
    assert await ledger.append(1, committed) == 2, "who is in the ledger already is passed over"


async def test_no_sequencer_follows_on_from_a_place_that_was_taken_away(mongo: Client) -> None:
    ledger = Ledger(mongo["identity"])
    await ledger.append(0, [], resume_token={"_data": "00"})
    await mongo["identity"]["head"].update_one({}, {"$unset": {"resume_token": "", "start_at": ""}})
    with pytest.raises(HeadMoved):
        await ledger.append(0, [], resume_token={"_data": "00"})


async def test_two_relays_make_the_stream_a_copy_of_the_ledger(mongo: Client, broker: NatsClient) -> None:
    users = await add_users(mongo, 300)
    async with running(sequencer(mongo), relay(mongo, broker), relay(mongo, broker)):
        await log_in_first(mongo, users)
        await until_streamed(broker, 300)
    assert await messages(broker.jetstream()) == await expected_messages(mongo)


async def test_a_lost_stream_is_made_again_with_the_same_sequences(mongo: Client, broker: NatsClient) -> None:
    users = await add_users(mongo, 60)
    async with running(sequencer(mongo), relay(mongo, broker)):
        await log_in_first(mongo, users[:40])
        await until_streamed(broker, 40)
        await broker.jetstream().delete_stream(STREAM)
        await until_streamed(broker, 40)
        await broker.jetstream().delete_stream(STREAM)
        await log_in_first(mongo, users[40:])
        await until_streamed(broker, 60)
    assert await messages(broker.jetstream()) == await expected_messages(mongo)


async def test_a_stream_that_holds_something_else_is_left_alone(mongo: Client, broker: NatsClient) -> None:
    jetstream = broker.jetstream()
    await jetstream.add_stream(name=STREAM, subjects=[SUBJECT])
    await jetstream.publish(SUBJECT, b"not from our ledger")
    users = await add_users(mongo, 2)
    copier = relay(mongo, broker)
    async with running(sequencer(mongo), copier):
        await log_in_first(mongo, users)
        await until_numbered(mongo, 2)
        await asyncio.wait({asyncio.create_task(broker.flush())})
        with pytest.raises(RuntimeError):
            await copier.check()
    assert await messages(jetstream) == [b"not from our ledger"]


async def test_a_relay_that_has_nothing_to_do_notices_what_somebody_else_published(
    mongo: Client, broker: NatsClient
) -> None:
    ours, waiting = await add_users(mongo, 2)
    with capture_logs() as logs:
        async with running(sequencer(mongo), relay(mongo, broker)):
            await log_in_first(mongo, [ours])
            await until_streamed(broker, 1)
            await broker.jetstream().publish(SUBJECT, b"not from our ledger")
            await until_logged(logs, "stream_ahead")
            await log_in_first(mongo, [waiting])
            await until_numbered(mongo, 2)
    assert await messages(broker.jetstream()) == [(await expected_messages(mongo))[0], b"not from our ledger"]


async def test_two_granters_give_exactly_n_vouchers_in_ledger_order(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    await open_campaign(mongo, 100)
    users = await add_users(mongo, 250)
    workers: list[Role] = [
        sequencer(mongo),
        relay(mongo, broker),
        granter(mongo, broker, valkey),
        granter(mongo, broker, valkey),
    ]
    async with running(*workers):
        await log_in_first(mongo, users)
        await until_judged(mongo, 250)
    vouchers = [voucher async for voucher in mongo["promotions"]["vouchers"].find().sort("position", 1)]
    assert [voucher["position"] for voucher in vouchers] == list(range(1, 101))
    assert [voucher["user_id"] for voucher in vouchers] == (await ledger_order(mongo))[:100]
    campaign = await mongo["promotions"]["campaigns"].find_one({})
    assert campaign is not None
    assert campaign["remaining_promotion"] == 0
    assert len(await audit(mongo, broker)) == 9


async def test_a_granter_that_wakes_up_late_changes_nothing(mongo: Client, broker: NatsClient) -> None:
    await open_campaign(mongo, 10)
    users = await add_users(mongo, 6)
    async with running(sequencer(mongo), relay(mongo, broker)):
        await log_in_first(mongo, users)
        await until_streamed(broker, 6)
    store = GrantStore(mongo["promotions"])
    events = [FirstLogin.from_json(message) for message in await messages(broker.jetstream())]
    assert len(await store.commit_awards(0, events[:4])) == 4
    for stale in (0, 2, 5):
        with pytest.raises(CursorMoved):
            await store.commit_awards(stale, events[:4])
    assert [v.position for v in await store.commit_awards(4, events[4:])] == [5, 6]
    await audit(mongo, broker)


async def test_a_hole_in_the_stream_stops_the_granter(mongo: Client, broker: NatsClient, valkey: Redis) -> None:
    await open_campaign(mongo, 10)
    jetstream = broker.jetstream()
    await jetstream.add_stream(name=STREAM, subjects=[SUBJECT], first_seq=3)
    event = FirstLogin(3, uuid7(), (await mongo.admin.command("hello"))["localTime"])
    await jetstream.publish(SUBJECT, event.to_json())
    worker = granter(mongo, broker, valkey)
    async with running(worker):
        async with asyncio.timeout(10):
            while (await jetstream.stream_info(STREAM)).state.consumer_count == 0:
                await asyncio.sleep(0.01)
        await broker.flush()
    assert await mongo["promotions"]["vouchers"].count_documents({}) == 0
    assert await GrantStore(mongo["promotions"]).cursor() == 0


async def test_first_logins_outside_a_campaign_earn_nothing_and_closing_leaves_no_doubt(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 40)
    async with running(sequencer(mongo), relay(mongo, broker), granter(mongo, broker, valkey)):
        await log_in_first(mongo, users[:10])
        campaign_id = await open_campaign(mongo, 100)
        await log_in_first(mongo, users[10:20])
        await CampaignStore(mongo["promotions"]).close(campaign_id, "test")
        await log_in_first(mongo, users[20:30])
        await open_campaign(mongo, 100)
        await log_in_first(mongo, users[30:])
        await until_judged(mongo, 40)
    proofs = await audit(mongo, broker)
    holders = {voucher["user_id"] async for voucher in mongo["promotions"]["vouchers"].find()}
    assert holders == {*users[10:20], *users[30:]}
    assert len(proofs) == 10


async def until_streamed(broker: NatsClient, last: int) -> None:
    """Wait until the stream's last sequence is `last`."""
    jetstream = broker.jetstream()
    async with asyncio.timeout(30):
        while True:
            try:
                if (await jetstream.stream_info(STREAM)).state.last_seq >= last:
                    return
            except nats.js.errors.NotFoundError:
                pass
            await asyncio.sleep(0.01)
