"""The audit finds what is wrong: each corruption is planted into a sound deployment, and named."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import Header
from people import add_users, log_in_first, open_campaign, until_judged
from redis.asyncio import Redis
from uuid_utils.compat import uuid7
from workers import workers

from earlybird.errors import Failure
from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit, Difference, Proof
from earlybird.operations.audit.first_logins import FirstLoginAudit
from earlybird.operations.audit.vouchers import VoucherAudit
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.stack.child import Child
from earlybird.stack.servers import Servers
from stopping import stop

Corruption = Callable[[Client, NatsClient], Awaitable[Any]]
USERS, WINNERS = 12, 5


@pytest.fixture
async def sound(mongo: Client, broker: NatsClient, valkey: Redis) -> Client:
    """A deployment in which twelve people logged in and five won."""
    await open_campaign(mongo, WINNERS)
    users = await add_users(mongo, USERS + 1)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:USERS])
        await until_judged(mongo, USERS)
    return mongo


async def audit(mongo: Client, broker: NatsClient) -> list[Proof]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream(), wait_seconds=0.2).run(proofs.append)
    return proofs


async def user_at(mongo: Client, n: int) -> UUID:
    entry = await mongo["identity"]["ledger"].find_one({"_id": n})
    assert entry is not None
    user_id: UUID = entry["user_id"]
    return user_id


async def test_a_sound_deployment_passes(sound: Client, broker: NatsClient) -> None:
    proofs = await audit(sound, broker)
    assert [proof.subject for proof in proofs] == [
        "ledger", "users", "stream", "cursor",
        "campaign “Launch”", "vouchers", "redemptions", "audit log", "places",
    ]  # fmt: skip
    assert "5 of 5 vouchers" in proofs[4].statement


async def delete_voucher(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["vouchers"].delete_one({"position": 3})


async def delete_last_voucher(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["vouchers"].delete_one({"position": WINNERS})


async def add_voucher(mongo: Client, _: NatsClient) -> None:
    voucher = await mongo["promotions"]["vouchers"].find_one({"position": WINNERS})
    assert voucher is not None
    surplus = {"_id": uuid7(), "user_id": await user_at(mongo, WINNERS + 1), "position": WINNERS + 1}
    await mongo["promotions"]["vouchers"].insert_one(voucher | surplus)


async def swap_positions(mongo: Client, _: NatsClient) -> None:
    vouchers = mongo["promotions"]["vouchers"]
    for position, new in ((1, 99), (2, 1), (99, 2)):
        await vouchers.update_one({"position": position}, {"$set": {"position": new}})


async def give_to_another(mongo: Client, _: NatsClient) -> None:
    loser = await user_at(mongo, USERS)
    await mongo["promotions"]["vouchers"].update_one({"position": 2}, {"$set": {"user_id": loser}})


async def raise_discount(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["vouchers"].update_one({"position": 4}, {"$set": {"discount": 90}})


async def prolong_voucher(mongo: Client, _: NatsClient) -> None:
    prolonged = [{"$set": {"expire_at": {"$add": ["$expire_at", 1]}}}]
    await mongo["promotions"]["vouchers"].update_one({"position": 4}, prolonged)


async def move_voucher_to_no_campaign(mongo: Client, _: NatsClient) -> None:
    voucher = await mongo["promotions"]["vouchers"].find_one({"position": 1})
    assert voucher is not None
    await mongo["promotions"]["vouchers"].insert_one(voucher | {"_id": uuid7(), "campaign_id": uuid7()})


async def change_remaining(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["campaigns"].update_one({}, {"$set": {"remaining_promotion": 1}})


async def lower_number(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["campaigns"].update_one({}, {"$set": {"number_of_promotion": WINNERS - 1}})


async def start_campaign_later(mongo: Client, _: NatsClient) -> None:
    entry = await mongo["identity"]["ledger"].find_one({"_id": 2})
    assert entry is not None
    later = {"$set": {"starts_at": entry["first_login_at"] + timedelta(milliseconds=1)}}
    await mongo["promotions"]["campaigns"].update_one({}, later)


async def open_second_campaign(mongo: Client, _: NatsClient) -> None:
    campaigns = mongo["promotions"]["campaigns"]
    campaign = await campaigns.find_one({})
    assert campaign is not None
    await campaigns.drop_index("one_available")
    second = {"_id": uuid7(), "first_n": 1000, "remaining_promotion": WINNERS}
    await campaigns.insert_one(campaign | second)


async def advance_cursor(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["cursor"].update_one({}, {"$inc": {"n": 1}})


async def set_cursor_back(mongo: Client, _: NatsClient) -> None:
    await mongo["promotions"]["cursor"].update_one({}, {"$inc": {"n": -1}})


async def delete_ledger_entry(mongo: Client, _: NatsClient) -> None:
    await mongo["identity"]["ledger"].delete_one({"_id": 6})


async def delete_last_ledger_entry(mongo: Client, _: NatsClient) -> None:
    await mongo["identity"]["ledger"].delete_one({"_id": USERS})


async def seal_anew(mongo: Client) -> None:
    """Hide it from the seals, as whoever has the database can."""
    await mongo["identity"]["ledger"].update_many({}, {"$unset": {"seal": ""}})
    await Ledger(mongo["identity"]).seal_older()


async def swap_ledger_entries(mongo: Client, _: NatsClient) -> None:
    ledger = mongo["identity"]["ledger"]
    entries = {entry.pop("_id"): entry async for entry in ledger.find({"_id": {"$in": [8, 9]}})}
    await ledger.delete_many({"_id": {"$in": [8, 9]}})
    await ledger.insert_many([{"_id": 8, **entries[9]}, {"_id": 9, **entries[8]}])
    await seal_anew(mongo)


async def redate_ledger_entry(mongo: Client, _: NatsClient) -> None:
    redated = [{"$set": {"first_login_at": {"$add": ["$first_login_at", 1]}}}]
    await mongo["identity"]["ledger"].update_one({"_id": 7}, redated)
    await seal_anew(mongo)


async def number_a_user_twice(mongo: Client, _: NatsClient) -> None:
    ledger = mongo["identity"]["ledger"]
    entry = await ledger.find_one({"_id": 1})
    assert entry is not None
    await ledger.drop_index("user_id")
    await ledger.insert_one(entry | {"_id": USERS + 1})
    await mongo["identity"]["head"].update_one({}, {"$inc": {"n": 1}})
    await seal_anew(mongo)


async def number_a_stranger(mongo: Client, _: NatsClient) -> None:
    await mongo["identity"]["ledger"].update_one({"_id": 10}, {"$set": {"user_id": uuid7()}})
    await seal_anew(mongo)


async def set_first_login_without_a_change_event(mongo: Client, _: NatsClient) -> None:
    user = await mongo["identity"]["users"].find_one({"is_first_login": 1})
    assert user is not None
    lost = user | {"is_first_login": 0, "first_login_at": user["created_at"]}
    await mongo["identity"]["users"].replace_one({"_id": user["_id"]}, lost)


async def reset_first_login_flag(mongo: Client, _: NatsClient) -> None:
    winner = await user_at(mongo, 1)
    await mongo["identity"]["users"].update_one({"_id": winner}, {"$set": {"is_first_login": 1}})


async def delete_user(mongo: Client, _: NatsClient) -> None:
    await mongo["identity"]["users"].delete_one({"_id": await user_at(mongo, 3)})


async def change_head(mongo: Client, _: NatsClient) -> None:
    await mongo["identity"]["head"].update_one({}, {"$inc": {"n": 3}})


async def delete_stream(_: Client, broker: NatsClient) -> None:
    await broker.jetstream().delete_stream(STREAM)


async def refill_stream(mongo: Client, broker: NatsClient, *, forged: int = 0, up_to: int = USERS) -> None:
    jetstream = broker.jetstream()
    await jetstream.delete_stream(STREAM)
    await jetstream.add_stream(name=STREAM, subjects=[SUBJECT])
    for entry in await Ledger(mongo["identity"]).read_after(0, up_to):
        payload = b"forged" if entry.n == forged else entry.to_json()
        await jetstream.publish(SUBJECT, payload, headers={Header.EXPECTED_LAST_SEQUENCE: str(entry.n - 1)})


async def cut_stream(mongo: Client, broker: NatsClient) -> None:
    await refill_stream(mongo, broker, up_to=USERS - 1)


async def forge_message(mongo: Client, broker: NatsClient) -> None:
    await refill_stream(mongo, broker, forged=4)


async def lose_last_message(mongo: Client, broker: NatsClient) -> None:
    await refill_stream(mongo, broker)
    await broker.jetstream().delete_msg(STREAM, USERS)


async def lose_all_messages(mongo: Client, broker: NatsClient) -> None:
    await refill_stream(mongo, broker)
    await broker.jetstream().purge_stream(STREAM)


async def publish_what_is_not_in_the_ledger(_: Client, broker: NatsClient) -> None:
    await broker.jetstream().publish(SUBJECT, b"{}")


CORRUPTIONS: list[tuple[Corruption, str]] = [
    (delete_voucher, "position 3: .* earned the"),
    (delete_last_voucher, "position 5: .* earned a voucher and holds none"),
    (add_voucher, "position 6 was earned by nobody"),
    (swap_positions, "position 1: .* earned the voucher, .* holds it"),
    (give_to_another, "position 2: .* earned the voucher, .* holds it"),
    (raise_discount, "position 4: the voucher is not on the campaign's terms"),
    (prolong_voucher, "position 4: the voucher is not on the campaign's terms"),
    (move_voucher_to_no_campaign, "belongs to no campaign"),
    (change_remaining, "remaining is 1, not 0"),
    (lower_number, "position 5 was earned by nobody"),
    (start_campaign_later, "position 1: .* earned the voucher"),
    (open_second_campaign, "2 are open at once"),
    (advance_cursor, "cursor: 13 first logins are judged, the ledger has only 12"),
    (set_cursor_back, "cursor: 11 first logins are judged, the ledger has 12"),
    (delete_ledger_entry, "after 5 comes 7"),
    (delete_last_ledger_entry, "the head says 12, the last entry is 11"),
    (swap_ledger_entries, "message 8 is not the ledger's entry 8"),
    (redate_ledger_entry, "entry 7 is dated otherwise"),
    (number_a_user_twice, "never logged in or is in it twice|who never logged in"),
    (number_a_stranger, "never logged in|never reached the ledger"),
    (set_first_login_without_a_change_event, "never reached the ledger"),
    (reset_first_login_flag, "contradict each other"),
    (delete_user, "entry 3 is of .*, who never logged in"),
    (change_head, "the head says 15, the last entry is 12"),
    (delete_stream, "there is no stream"),
    (cut_stream, "it ends at 11, the ledger at 12"),
    (publish_what_is_not_in_the_ledger, "it goes on to 13, the ledger ends at 12"),
    (forge_message, "message 4 is not the ledger's entry 4"),
    (lose_last_message, "message None is not the ledger's entry 12"),
    (lose_all_messages, "message None is not the ledger's entry 1"),
]


@pytest.mark.parametrize(("corrupt", "finding"), CORRUPTIONS, ids=lambda value: getattr(value, "__name__", ""))
async def test_the_audit_names_what_was_corrupted(
    corrupt: Corruption, finding: str, sound: Client, broker: NatsClient
) -> None:
    await corrupt(sound, broker)
    with pytest.raises(Difference, match=finding):
        await audit(sound, broker)


class StoppedWhenRead(JetStreamContext):
    """JetStream, of which the server stops when the stream is read."""

    def __init__(self, broker: NatsClient, server: Child) -> None:
        super().__init__(broker)
        self._server = server

    async def pull_subscribe(self, *words: Any, **options: Any) -> JetStreamContext.PullSubscription:
        subscription = await super().pull_subscribe(*words, **options)
        fetch = subscription.fetch

        async def stop_and_fetch(batch: int = 1, **_: Any) -> list[Msg]:
            stop(self._server.pid)
            return await fetch(batch, timeout=0.5)

        subscription.fetch = stop_and_fetch  # type: ignore[method-assign,assignment]
        return subscription


async def test_nats_that_ceases_to_answer_is_told_as_that_and_not_as_a_difference(
    sound: Client, broker: NatsClient, servers: Servers
) -> None:
    server = servers.process("nats-1")
    try:
        with pytest.raises(nats.errors.TimeoutError):
            await Audit(sound, StoppedWhenRead(broker, server)).run(lambda _: None)
    finally:
        server.send(signal.SIGCONT)


async def test_an_audit_that_takes_too_long_says_so_and_that_mongodb_answers(
    sound: Client, broker: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earlybird.operations.audit._LONGEST_SECONDS", 0.001)
    with pytest.raises(Failure, match=r"not done within 0\.001 s"):
        await audit(sound, broker)


async def test_of_the_ledger_a_campaigns_audit_reads_its_own_part_alone(
    sound: Client, broker: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first that counts to the last that won; of a campaign that was opened since, nothing."""
    [old] = await CampaignStore(sound["promotions"]).find_all(2)
    await CampaignStore(sound["promotions"]).close(old.campaign.id, "test")
    await open_campaign(sound, WINNERS, name="Later")
    monkeypatch.setattr("earlybird.operations.audit.first_logins._PAGE", 1)
    read: list[int] = []

    class Watched(FirstLoginAudit):
        async def pages(self, *span: int) -> AsyncIterator[list[FirstLogin]]:
            async for page in super().pages(*span):
                read.extend(entry.n for entry in page)
                yield page

    async with sound.start_session(snapshot=True) as session:
        first_logins = Watched(sound, broker.jetstream(), session, 0)
        proofs: list[Proof] = []
        await VoucherAudit(sound, first_logins, session, 0).check(USERS, proofs.append)
    assert [proof.subject for proof in proofs] == ["campaign “Launch”", "campaign “Later”", "vouchers"]
    assert read == [1, 2, 3, 4, 5]


async def test_the_audit_passes_while_first_logins_are_on_their_way(
    sound: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_more_users(sound, 200)
    async with workers(sound, broker, valkey), asyncio.TaskGroup() as group:
        group.create_task(log_in_first(sound, users, at_once=4))
        for _ in range(5):
            await Audit(sound, broker.jetstream()).run(lambda _: None)
    assert await Ledger(sound["identity"]).find(USERS + 200) is not None


async def add_more_users(mongo: Client, count: int) -> list[UUID]:
    """Add users beside those of `sound`."""
    template = await mongo["identity"]["users"].find_one({"is_first_login": 1})
    assert template is not None
    users = [
        template
        | {"_id": uuid7(), "username": f"more-{i}", "email": f"more-{i}@example.com", "phone": f"more-{i}"}
        for i in range(count)
    ]
    await mongo["identity"]["users"].insert_many(users)
    return [user["_id"] for user in users]
