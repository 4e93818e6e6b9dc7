"""Webhooks: signed, at least once, in order for each voucher; and never into the private network."""

import asyncio
import json
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, running, until_judged
from services import Ports, environment, serving, serving_here
from test_crashes import WORKERS, command, dies, points, with_a_sample
from test_publisher import commit, granted, publisher, redeemed

from earlybird.errors import Refusal
from earlybird.events import VOUCHER_STREAM, VoucherGranted
from earlybird.infra.mongo import Client
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.webhooks import dispatcher as dispatching
from earlybird.promotions.webhooks import model
from earlybird.promotions.webhooks.announcer import Announcer
from earlybird.promotions.webhooks.collector import Collector
from earlybird.promotions.webhooks.dispatcher import Dispatcher
from earlybird.promotions.webhooks.endpoints import EndpointStore
from earlybird.promotions.webhooks.model import NOTICES, VOUCHERS, Endpoint, Kind, networks
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.promotions.webhooks.senders import HttpSender, Senders, SlackSender, WebhookSender
from earlybird.promotions.webhooks.service import Changes, Webhooks
from earlybird.settings import Settings
from earlybird.status.asking import Asker
from webhook_receiver import Arrived, Receiver, receiver

KEY = b"a key for the tests, of 32 characters or more"
HERE = networks("127.0.0.0/8")


def webhooks(mongo: Client, allowed: str = "127.0.0.0/8") -> Webhooks:
    return Webhooks(mongo["promotions"], KEY, networks(allowed))


async def subscribe(mongo: Client, url: str, kind: Kind = Kind.WEBHOOK) -> tuple[Endpoint, str]:
    topics = VOUCHERS if kind is Kind.WEBHOOK else NOTICES
    known, secret = await webhooks(mongo).add(kind, url, topics, "test", "test")
    return known.endpoint, secret or ""


@asynccontextmanager
async def delivering(mongo: Client, broker: NatsClient, allowed: str = "127.0.0.0/8") -> AsyncIterator[None]:
    """Run all that leads from the outbox to receivers."""
    jetstream, database = broker.jetstream(), mongo["promotions"]
    async with aclosing(HttpSender(networks(allowed))) as http:
        senders = Senders({Kind.WEBHOOK: WebhookSender(http, KEY), Kind.SLACK: SlackSender(http)})
        workers = (
            Collector(jetstream, QueueStore(database)),
            Dispatcher(EndpointStore(database), QueueStore(database), senders),
        )
        async with running(publisher(mongo, jetstream), *workers):
            yield


def announcer(mongo: Client, asker: Asker, targets: dict[str, str]) -> Announcer:
    database = mongo["promotions"]
    return Announcer(CampaignStore(database), QueueStore(database), asker, targets, lasts_seconds=0)


async def until_empty(mongo: Client, broker: NatsClient) -> None:
    """Wait until all that was committed has gone all the way."""
    database = mongo["promotions"]
    async with asyncio.timeout(60):
        while await database["outbox"].find_one({}):
            await asyncio.sleep(0.02)
        last = (await broker.jetstream().stream_info(VOUCHER_STREAM)).state.last_seq
        while not await database["webhook_cursor"].find_one({"n": {"$gte": last}}):
            await asyncio.sleep(0.02)
        while await database["webhook_queues"].find_one({}):
            await asyncio.sleep(0.02)


async def error_of(mongo: Client, endpoint: Endpoint) -> str:
    """Wait until an attempt has failed, and say how."""
    async with asyncio.timeout(30):
        while True:
            for waiting in await webhooks(mongo).find_waiting(endpoint.id, dead=False, limit=1):
                if waiting["error"]:
                    return str(waiting["error"])
            await asyncio.sleep(0.02)


@pytest.fixture
async def told(mongo: Client, broker: NatsClient) -> AsyncIterator[Receiver]:
    """A receiver, with a stream that exists and a collector that has begun: what comes from now on is told."""
    async with running(
        publisher(mongo, broker.jetstream()), Collector(broker.jetstream(), QueueStore(mongo["promotions"]))
    ):
        async with asyncio.timeout(30):
            while not await mongo["promotions"]["webhook_cursor"].find_one({}):
                await asyncio.sleep(0.02)
    async with receiver() as one:
        yield one


async def test_each_event_is_delivered_once_signed_and_in_order(
    mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    endpoint, secret = await subscribe(mongo, told.url)
    vouchers = [granted(position) for position in range(1, 21)]
    async with delivering(mongo, broker):
        await commit(mongo, *vouchers)
        spent = [redeemed(voucher) for voucher in vouchers]
        await commit(mongo, *spent)
        await told.until(40)
        await until_empty(mongo, broker)
    assert sorted(told.ids()) == sorted(event.id for event in (*vouchers, *spent))
    for voucher, redemption in zip(vouchers, spent, strict=True):
        assert told.ids().index(voucher.id) < told.ids().index(redemption.id)
    assert all(one.is_signed_by(secret) for one in told.arrived)
    assert not told.arrived[0].is_signed_by(model.secret_of(KEY, endpoint.id, 2))
    assert json.loads(told.arrived[0].body)["specversion"] == "1.0"


async def test_for_a_day_after_a_rotation_both_secrets_fit(
    mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    endpoint, old = await subscribe(mongo, told.url)
    _, new = await webhooks(mongo).rotate(endpoint.id, "test")
    assert new is not None
    async with delivering(mongo, broker):
        await commit(mongo, granted(1))
        await told.until(1)
        assert told.arrived[0].is_signed_by(old)
        assert told.arrived[0].is_signed_by(new)
        await until_empty(mongo, broker)
    a_day_ago = datetime.now(UTC) - timedelta(hours=24)
    await mongo["promotions"]["webhook_endpoints"].update_one({}, {"$set": {"rotated_at": a_day_ago}})
    async with delivering(mongo, broker):
        await commit(mongo, granted(2))
        await told.until(2)
    assert not told.arrived[1].is_signed_by(old)
    assert told.arrived[1].is_signed_by(new)


@pytest.mark.parametrize("seed", range(3))
async def test_the_order_of_a_voucher_holds_while_receivers_fail_at_random(
    seed: int, mongo: Client, broker: NatsClient, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_PAUSES", (timedelta(milliseconds=10),) * 1000)
    monkeypatch.setattr(model, "ATTEMPTS", 1000)
    monkeypatch.setattr(dispatching, "_LONGEST_REST_SECONDS", 0.01)
    random_, taken = random.Random(seed), list[str]()

    def answer(one: Arrived) -> str:
        if random_.random() < 0.4:
            return "503 Service Unavailable"
        taken.append(one.headers["webhook-id"])
        return "200 OK"

    told.answer = answer
    await subscribe(mongo, told.url)
    vouchers = [granted(position) for position in range(1, 16)]
    expected = defaultdict(list)
    async with delivering(mongo, broker), delivering(mongo, broker):  # two of each, which is allowed
        for voucher in vouchers:
            events = [voucher, *(redeemed(voucher, amount) for amount in (100, 200))]
            expected[voucher.voucher_id] = [event.id for event in events]
            await commit(mongo, *events)
        await until_empty(mongo, broker)
    for ids in expected.values():
        first_seen = sorted(ids, key=taken.index)
        assert first_seen == ids
    assert set(taken) == {one for ids in expected.values() for one in ids}


async def test_what_fails_for_too_long_is_dead_is_shown_and_is_delivered_after_all(
    mongo: Client, broker: NatsClient, told: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_PAUSES", (timedelta(),) * 2)
    monkeypatch.setattr(model, "ATTEMPTS", 3)
    monkeypatch.setattr(dispatching, "_LONGEST_REST_SECONDS", 0.0)
    told.answer = lambda _: "500 Internal Server Error"
    endpoint, _ = await subscribe(mongo, told.url)
    voucher = granted(1)
    spent = redeemed(voucher)
    service = webhooks(mongo)
    async with delivering(mongo, broker):
        await commit(mongo, voucher, spent)
        async with asyncio.timeout(30):
            while (await service.find(endpoint.id)).dead == 0:
                await asyncio.sleep(0.02)
        [dead] = await service.find_waiting(endpoint.id, dead=True, limit=10)
        assert (dead["attempts"], dead["error"]) == (3, "status_500")
        assert [event["id"] for event in dead["events"]] == [voucher.id, spent.id]
        assert told.ids() == [voucher.id] * 3
        told.answer = lambda _: "200 OK"
        assert await service.replay(endpoint.id, "test") == 1
        await until_empty(mongo, broker)
    assert told.ids()[3:] == [voucher.id, spent.id]


async def test_who_is_gone_is_paused_until_a_person_has_looked(
    mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    told.answer = lambda _: "410 Gone"
    endpoint, _ = await subscribe(mongo, told.url)
    service = webhooks(mongo)
    async with delivering(mongo, broker):
        await commit(mongo, granted(1))
        async with asyncio.timeout(30):
            while not (await service.find(endpoint.id)).endpoint.is_paused:
                await asyncio.sleep(0.02)
        told.answer = lambda _: "200 OK"
        await service.change(endpoint.id, Changes(is_paused=False), "test")
        await mongo["promotions"]["webhook_queues"].update_many({}, {"$set": {"due_at": datetime.now(UTC)}})
        await until_empty(mongo, broker)
    assert len(told.arrived) == 2


async def test_one_that_hangs_holds_up_no_other(mongo: Client, broker: NatsClient, told: Receiver) -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    slow = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with slow:
        await subscribe(mongo, f"http://127.0.0.1:{slow.sockets[0].getsockname()[1]}/")
        await subscribe(mongo, told.url)
        async with delivering(mongo, broker):
            await commit(mongo, *(granted(position) for position in range(1, 31)))
            await told.until(30)
            ended.set()


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "http://a.example/",
    ],
)
async def test_an_address_of_the_private_network_is_refused(address: str, mongo: Client) -> None:
    with pytest.raises(Refusal, match="address"):
        await webhooks(mongo, allowed="").add(Kind.WEBHOOK, address, VOUCHERS, "test", "test")


async def test_a_name_that_leads_into_the_private_network_is_not_followed(
    mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    """`localhost` is such a name; so is one that led elsewhere when it was added (DNS rebinding)."""
    service = webhooks(mongo, allowed="")
    known, _ = await service.add(Kind.WEBHOOK, f"https://localhost:{told.port}/", VOUCHERS, "test", "test")
    async with delivering(mongo, broker, allowed=""):
        await commit(mongo, granted(1))
        assert await error_of(mongo, known.endpoint) == "address_not_allowed"
    assert not told.arrived


async def test_a_redirect_is_not_followed(mongo: Client, broker: NatsClient, told: Receiver) -> None:
    async with receiver() as other:
        told.answer = lambda _: f"307 Temporary Redirect\r\nLocation: {other.url}"
        endpoint, _ = await subscribe(mongo, told.url)
        async with delivering(mongo, broker):
            await commit(mongo, granted(1))
            assert await error_of(mongo, endpoint) == "status_307"
        assert not other.arrived


@pytest.mark.parametrize("crash_at", points("collector", "dispatcher"))
async def test_a_process_that_dies_here_loses_no_delivery(
    crash_at: str, mongo: Client, broker: NatsClient, told: Receiver, settings: Settings
) -> None:
    await subscribe(mongo, told.url)
    events = [granted(position) for position in range(1, 6)]
    async with running(publisher(mongo, broker.jetstream())):
        await commit(mongo, *events)
        changes = {"EARLYBIRD_WEBHOOK_KEY": KEY.decode(), "EARLYBIRD_WEBHOOK_NETWORKS": "127.0.0.0/8"}
        async with serving(
            environment(settings, Ports(), EARLYBIRD_CRASH_AT=crash_at, **changes), "webhooks"
        ) as process:
            await dies(process)
    # Time passes, until the leases of the dead have ended.
    await mongo["promotions"]["webhook_queues"].update_many({}, {"$set": {"leased_until": datetime.now(UTC)}})
    async with delivering(mongo, broker):
        await told.until(5)
        await until_empty(mongo, broker)
    assert set(told.ids()) == {event.id for event in events}
    repeated = len(told.ids()) - len(events)
    assert repeated <= (4 if crash_at == "dispatcher.sent" else 0)


@pytest.mark.parametrize("crash_at", with_a_sample("announcer"))
async def test_a_notice_whose_announcer_died_here_is_told_once(
    crash_at: str, mongo: Client, broker: NatsClient, told: Receiver, settings: Settings
) -> None:
    await subscribe(mongo, told.url, Kind.SLACK)
    await open_campaign(mongo, 5)
    changes = {"EARLYBIRD_WEBHOOK_KEY": KEY.decode(), "EARLYBIRD_CRASH_AT": crash_at}
    async with serving(environment(settings, Ports(), **changes), "webhooks") as process:
        await dies(process)
    async with (
        aclosing(Asker()) as asker,
        delivering(mongo, broker),
        running(announcer(mongo, asker, {})),
    ):
        await told.until(1)
        await until_empty(mongo, broker)
    assert [json.loads(one.body)["text"] for one in told.arrived] == ["Launch is open: 5 vouchers."]


@pytest.mark.parametrize("crash_at", with_a_sample("webhook"))
async def test_a_change_cut_short_here_and_made_again_is_made_once(
    crash_at: str, mongo: Client, settings: Settings
) -> None:
    endpoint, _ = await subscribe(mongo, "http://127.0.0.1:1/")
    pause = ("webhook", "pause", str(endpoint.id))
    assert await command(settings, *pause, crash_at=crash_at) == -signal.SIGKILL
    assert await command(settings, *pause) == 0
    assert (await webhooks(mongo).find(endpoint.id)).endpoint.is_paused
    actions = [entry["action"] async for entry in mongo["promotions"]["audit_log"].find().sort("order", 1)]
    assert actions == ["webhook.added", "webhook.changed"]


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"null", b'{"type": 1}', b'{"type": "a.b.voucher.granted.v1"}']
)
async def test_what_is_no_event_holds_nothing_up(
    garbage: bytes, mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    await subscribe(mongo, told.url)
    await broker.jetstream().publish(VoucherGranted.type, garbage)
    event = granted(1)
    async with delivering(mongo, broker):
        await commit(mongo, event)
        await until_empty(mongo, broker)
    assert told.ids() == [event.id]


async def test_a_stream_that_was_made_again_is_read_from_its_beginning(
    mongo: Client, broker: NatsClient, told: Receiver
) -> None:
    await subscribe(mongo, told.url)
    async with delivering(mongo, broker):
        await commit(mongo, granted(1), granted(2))
        await told.until(2)
        await until_empty(mongo, broker)
    await broker.jetstream().delete_stream(VOUCHER_STREAM)
    async with delivering(mongo, broker):
        await commit(mongo, granted(3))
        await told.until(3)


async def test_people_are_told_once_how_a_campaign_stands(
    mongo: Client, broker: NatsClient, told: Receiver, settings: Settings
) -> None:
    await subscribe(mongo, told.url, Kind.SLACK)
    users = await add_users(mongo, 6)
    async with (
        aclosing(Asker()) as asker,
        delivering(mongo, broker),
        running(*(announcer(mongo, asker, {}) for _ in range(2))),
        serving_here(environment(settings, Ports()), *WORKERS),
    ):
        campaign_id = await open_campaign(mongo, 5)
        await told.until(1)
        await log_in_first(mongo, users)
        await until_judged(mongo, 6)
        await told.until(3)
        await mongo["promotions"]["campaigns"].update_one(
            {"_id": campaign_id}, {"$set": {"ends_at": datetime.now(UTC)}}
        )
        await told.until(4)
        await until_empty(mongo, broker)
    assert [json.loads(one.body)["text"] for one in told.arrived] == [
        "Launch is open: 5 vouchers.",
        "Launch: 5 of 5 vouchers are granted.",
        "Launch is sold out: all 5 vouchers are granted.",
        "Launch is closed: 5 of 5 vouchers were granted.",
    ]


async def test_people_are_told_of_an_alarm_once_and_of_its_end(
    mongo: Client, broker: NatsClient, told: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earlybird.promotions.webhooks.announcer._LOOK_SECONDS", 0.02)
    await subscribe(mongo, told.url, Kind.SLACK)
    ports = Ports()
    targets = {"granter": f"http://127.0.0.1:{ports.granter}"}
    async with aclosing(Asker()) as asker, delivering(mongo, broker):
        async with running(*(announcer(mongo, asker, targets) for _ in range(2))):
            await told.until(1)
            async with serving_here(environment(settings, ports), "granter"):
                await told.until(2)
        await until_empty(mongo, broker)
    texts = [json.loads(one.body)["text"] for one in told.arrived]
    assert texts.count("ProcessDown has ended.") == 1
    assert texts[0].startswith("ProcessDown: granter does not answer")
    assert sum(text.startswith("ProcessDown: ") for text in texts) <= 2  # it may be told again as the role stops
