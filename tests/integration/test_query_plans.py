"""What the roles ask again and again reads an index, also when something waits."""

from datetime import UTC, datetime
from uuid import uuid4

from test_publisher import commit, granted

from earlybird.identity.contacts.outbox import Message
from earlybird.identity.contacts.outbox import Outbox as Letters
from earlybird.infra.mongo import Client, in_transaction
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.webhooks.model import VOUCHERS, Event, Kind
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.promotions.webhooks.service import Webhooks
from earlybird.settings import Settings
from scans import scans_noted


async def test_what_waits_is_counted_and_taken_by_an_index(mongo: Client, settings: Settings) -> None:
    promotions, identity = mongo["promotions"], mongo["identity"]
    events, letters = Outbox(promotions), Letters(identity, bytes(32))
    await commit(mongo, granted(1), granted(2))
    letter, now = Message("email", "ada@example.com", "code", "en", "123456"), datetime.now(UTC)
    await in_transaction(
        "test", identity, lambda session: letters.put(session, "ada@example.com", uuid4(), letter, now)
    )
    async with scans_noted(settings.mongodb_uri.get_secret_value(), {"test"}) as scans:
        assert (await events.depth())[0] == 2
        assert len(await events.read(10)) == 2
        assert (await letters.depth())[0] == 1
        assert await letters.claim() is not None
        assert await scans() == set()


async def test_what_waits_for_webhooks_is_found_by_an_index(mongo: Client, settings: Settings) -> None:
    database = mongo["promotions"]
    service, queues = Webhooks(database, bytes(32), []), QueueStore(database)
    endpoint = (await service.add(Kind.WEBHOOK, "https://shop.example/", VOUCHERS, "test", "test"))[0].endpoint
    async with scans_noted(settings.mongodb_uri.get_secret_value(), {"test"}) as scans:
        await queues.put(endpoint, Event("1", VOUCHERS[0], "a voucher", b"{}"))
        assert (await queues.depth())[0] == 1
        assert len(await queues.find(endpoint.id, dead=False, limit=1)) == 1
        delivery = await queues.claim({endpoint.id: endpoint})
        assert delivery is not None
        await queues.failed(delivery, "no answer", None)
        assert await queues.dead() == 1
        assert await queues.count() == {endpoint.id: (0, 1)}
        assert await queues.replay(endpoint.id, "test") == 1
        await queues.sweep()
        assert await scans() == set()


async def test_a_query_without_an_index_is_noted(mongo: Client, settings: Settings) -> None:
    await commit(mongo, granted(1))
    async with scans_noted(settings.mongodb_uri.get_secret_value(), {"test"}) as scans:
        await mongo["promotions"]["outbox"].find_one({"subject": "none"})
        assert len(await scans()) == 1
