"""The audit of what became of the vouchers finds what is wrong: each corruption is planted, and named."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged
from redis.asyncio import Redis
from uuid_utils.compat import uuid7
from workers import workers

from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit import Audit, Difference, Proof
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.redemptions.model import Order, RedemptionEvent
from earlybird.promotions.redemptions.store import RedemptionStore

ORDER = Order("topup-1", 100_000, "VND")
WINNERS = 6


@dataclass(frozen=True)
class Sound:
    """Six winners: one spent the voucher, one had it refunded, one holds it, one released it, two do nothing."""

    mongo: Client
    users: list[UUID]

    async def change(self, collection: str, query: Document, **values: Any) -> None:
        changed = await self.mongo["promotions"][collection].update_one(query, {"$set": values})
        assert changed.modified_count == 1

    async def one(self, collection: str, **query: Any) -> Document:
        document = await self.mongo["promotions"][collection].find_one(query)
        assert document is not None
        return document


@pytest.fixture
async def sound(mongo: Client, broker: NatsClient, valkey: Redis) -> Sound:
    campaign_id = await open_campaign(mongo, WINNERS, currency="VND", min_amount=50_000, name="Draft")
    users = await add_users(mongo, WINNERS)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users)
        await until_judged(mongo, WINNERS)
    redemptions = RedemptionStore(mongo["promotions"])
    await redemptions.spend(users[0], "a", ORDER, reserve=False)
    refunded = await redemptions.spend(users[1], "a", ORDER, reserve=False)
    await redemptions.settle(refunded.id, RedemptionEvent.REFUND, users[1], owner=users[1])
    await redemptions.spend(users[2], "a", ORDER, reserve=True)
    released = await redemptions.spend(users[3], "a", ORDER, reserve=True)
    await redemptions.settle(released.id, RedemptionEvent.RELEASE, users[3], owner=users[3])
    await CampaignStore(mongo["promotions"]).edit(campaign_id, {"name": "Launch"}, "test")
    return Sound(mongo, users)


async def audit(mongo: Client, broker: NatsClient) -> dict[str, str]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream(), wait_seconds=0.2).run(proofs.append)
    return {proof.subject: proof.statement for proof in proofs}


async def test_a_sound_deployment_passes(sound: Sound, broker: NatsClient) -> None:
    proofs = await audit(sound.mongo, broker)
    assert proofs["redemptions"] == "vouchers spent: 1, each once; amounts add up (30000 VND taken off)"
    assert proofs["audit log"].startswith("11 changes"), (
        "1 campaign; 6 granted, 2 redeemed, 1 refunded, 1 released"
    )


Corruption = Callable[[Sound], Awaitable[Any]]


async def spend_a_voucher_twice(sound: Sound) -> None:
    redemptions = sound.mongo["promotions"]["redemptions"]
    await redemptions.drop_index("one_redeemed")
    await redemptions.insert_one(await sound.one("redemptions", state="redeemed") | {"_id": uuid7()})


async def return_a_spent_voucher(sound: Sound) -> None:
    await sound.change("vouchers", {"is_available": 0}, is_available=1)


async def spend_a_voucher_on_nothing(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[5]}, is_available=0)


async def delete_a_redemption(sound: Sound) -> None:
    await sound.mongo["promotions"]["redemptions"].delete_one({"state": "redeemed"})


async def take_more_off(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "redeemed"}, discount_amount=90_000, payable_amount=10_000)


async def charge_another_amount(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "redeemed"}, payable_amount=70_001)


async def charge_in_another_currency(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "redeemed"}, currency="EUR")


async def buy_less_than_the_least(sound: Sound) -> None:
    small = {"amount": 1000, "discount_amount": 300, "payable_amount": 700}
    await sound.change("redemptions", {"state": "redeemed"}, **small)


async def give_a_redemption_to_another(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "redeemed"}, user_id=sound.users[5])


async def redeem_a_voucher_that_there_is_not(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "released"}, voucher_id=uuid7())


async def hold_for_nobody(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[5]}, held_by=uuid7())


async def hold_for_what_was_released(sound: Sound) -> None:
    released = await sound.one("redemptions", state="released")
    await sound.change("vouchers", {"user_id": sound.users[3]}, held_by=released["_id"])


async def hold_longer(sound: Sound) -> None:
    held = await sound.one("vouchers", user_id=sound.users[2])
    await sound.change("vouchers", {"_id": held["_id"]}, held_until=held["held_until"] + timedelta(days=1))


async def hold_without_saying_for_whom(sound: Sound) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await sound.change("vouchers", {"user_id": sound.users[5]}, held_until=tomorrow)


async def forget_until_when_it_is_held(sound: Sound) -> None:
    await sound.mongo["promotions"]["vouchers"].update_one(
        {"user_id": sound.users[2]}, {"$unset": {"held_until": ""}}
    )


async def note_one_grant_in_place_of_another(sound: Sound) -> None:
    log = sound.mongo["promotions"]["audit_log"]
    await log.delete_one({"action": "voucher.granted"})
    other = await sound.one("audit_log", action="voucher.granted")
    other.pop("order")
    await log.insert_one(other | {"_id": uuid7()})


async def note_a_grant_of_nothing(sound: Sound) -> None:
    await sound.change("audit_log", {"action": "voucher.granted"}, subject=uuid7())


async def raise_the_number_by_hand(sound: Sound) -> None:
    await sound.change("campaigns", {}, number_of_promotion=WINNERS + 2, remaining_promotion=2)


async def end_the_campaign_by_hand(sound: Sound) -> None:
    await sound.change("campaigns", {}, ends_at=datetime.now(UTC))


async def forget_a_grant(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].delete_one({"action": "voucher.granted"})


async def forget_a_campaign(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].delete_one({"action": "campaign.created"})


async def forget_a_refund(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].delete_one({"action": "redemption.refunded"})


async def invent_a_redemption(sound: Sound) -> None:
    entry = await sound.one("audit_log", action="redemption.redeemed")
    entry.pop("order")
    await sound.mongo["promotions"]["audit_log"].insert_one(entry | {"_id": uuid7()})


CORRUPTIONS: list[tuple[Corruption, str]] = [
    (spend_a_voucher_twice, "it was spent twice"),
    (return_a_spent_voucher, "it is available, and redeemed"),
    (spend_a_voucher_on_nothing, "2 are spent, but there are 1 redeemed redemptions"),
    (delete_a_redemption, "1 are spent, but there are 0 redeemed redemptions"),
    (take_more_off, "the discount is not the voucher's"),
    (charge_another_amount, "do not add up"),
    (charge_in_another_currency, "the voucher is not for such a purchase"),
    (buy_less_than_the_least, "the voucher is not for such a purchase"),
    (give_a_redemption_to_another, "it is not of its voucher's owner"),
    (redeem_a_voucher_that_there_is_not, "there is no voucher"),
    (hold_for_nobody, "2 are held, but there are 1 reservations that hold one"),
    (hold_for_what_was_released, "it is held by .*, which is released"),
    (hold_longer, "it is held by .*, which is reserved"),
    (hold_without_saying_for_whom, "2 are held, but there are 1 reservations that hold one"),
    (forget_until_when_it_is_held, "it is held by .*, which is reserved"),
    (forget_a_grant, "audit_log: 5 say voucher.granted, but there are 6 vouchers"),
    (forget_a_campaign, "audit_log: 0 say campaign.created, but there are 1 campaigns"),
    (forget_a_refund, "audit_log: 0 say redemption.refunded, but there are 1 redemptions"),
    (invent_a_redemption, "audit_log: 3 say redemption.redeemed, but there are 2 redemptions"),
    (note_one_grant_in_place_of_another, "audit_log: voucher.granted of .* is there [02] times"),
    (note_a_grant_of_nothing, "audit_log: voucher.granted of .* is there 0 times"),
    (raise_the_number_by_hand, "campaign “Launch”: number_of_promotion is not what the audit log says"),
    (end_the_campaign_by_hand, "campaign “Launch”: ends_at is not what the audit log says"),
]


@pytest.mark.parametrize(("corrupt", "finding"), CORRUPTIONS, ids=lambda value: getattr(value, "__name__", ""))
async def test_the_audit_names_what_was_corrupted(
    corrupt: Corruption, finding: str, sound: Sound, broker: NatsClient
) -> None:
    await corrupt(sound)
    with pytest.raises(Difference, match=finding):
        await audit(sound.mongo, broker)


async def test_a_voucher_whose_hold_has_lapsed_and_was_spent_otherwise_is_sound(
    sound: Sound, broker: NatsClient
) -> None:
    clock = (await sound.one("vouchers", user_id=sound.users[2]))["held_until"]

    async def later() -> Any:
        return clock

    await RedemptionStore(sound.mongo["promotions"], later).spend(sound.users[2], "b", ORDER, reserve=False)
    assert (await audit(sound.mongo, broker))["redemptions"].startswith("vouchers spent: 2")


@pytest.mark.slow
async def test_the_audit_passes_beside_redemptions_and_a_raise(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    campaign_id, users = await open_campaign(mongo, 10), await add_users(mongo, 60)
    redemptions, campaigns = RedemptionStore(mongo["promotions"]), CampaignStore(mongo["promotions"])
    passed = 0

    async def spend_and_give_back() -> None:
        for round_ in range(4):
            for user_id in [voucher["user_id"] async for voucher in mongo["promotions"]["vouchers"].find()]:
                made = await redemptions.spend(user_id, f"{round_}", ORDER, reserve=round_ % 2 == 0)
                back = RedemptionEvent.REFUND if round_ % 2 else RedemptionEvent.RELEASE
                await redemptions.settle(made.id, back, user_id, owner=None)

    async def raise_number() -> None:
        for number in range(15, 55, 5):
            await campaigns.edit(campaign_id, {"number_of_promotion": number}, "test")
            await log_in_first(mongo, users[number - 5 : number], at_once=2)

    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:10])
        await until_judged(mongo, 10)
        async with asyncio.TaskGroup() as group:
            busy = [group.create_task(spend_and_give_back()), group.create_task(raise_number())]
            while not all(task.done() for task in busy):
                await Audit(mongo, broker.jetstream()).run(lambda _: None)
                passed += 1
        await until(mongo, "vouchers", {}, 50)
        assert (await audit(mongo, broker))["campaign “Launch”"].startswith("50 of 50")
    assert passed > 2
