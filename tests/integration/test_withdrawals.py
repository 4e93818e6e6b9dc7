"""A voucher is withdrawn, and the next in line gets one: through the stores and workers, on real servers."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, put_voucher, until, until_judged
from redis.asyncio import Redis
from uuid_utils.compat import uuid7
from workers import workers

from earlybird.cli.voucher import _find, _user_id
from earlybird.errors import Failure, Refusal
from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit import Audit, Proof
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.redemptions.model import Order, RedemptionEvent
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.store import VoucherStore
from earlybird.promotions.withdrawals.model import Wanted, Withdrawal
from earlybird.promotions.withdrawals.service import Withdrawals
from earlybird.promotions.withdrawals.store import WithdrawalStore
from earlybird.settings import Settings

START = datetime(2026, 11, 1, tzinfo=UTC)
ORDER = Order("topup-1", 100_000, "VND")


class Office:
    """Whoever withdraws vouchers, and what they see."""

    def __init__(self, mongo: Client, valkey: Redis, campaign_id: UUID) -> None:
        self._promotions = mongo["promotions"]
        self._cache = VoucherCache(valkey, 300, 1)
        self.campaign_id = campaign_id
        self.store = WithdrawalStore(self._promotions)
        self.campaigns = CampaignStore(self._promotions)
        self.redemptions = RedemptionStore(self._promotions)

    async def withdraw(self, user_id: UUID, *, replace: bool = False, reason: str = "a bot") -> Withdrawal:
        wanted = Wanted(self.campaign_id, user_id=user_id)
        return await Withdrawals(self.store, self._cache).withdraw(wanted, reason, "cli:test", replace=replace)

    async def sees(self, user_id: UUID) -> bool:
        vouchers = Vouchers(VoucherStore(self._promotions), self._cache)
        return await vouchers.current_voucher(user_id) is not None

    async def state(self, user_id: UUID) -> str:
        [(held, _)] = await VoucherStore(self._promotions).find_vouchers(user_id)
        return held.state(held.voucher.expire_at)

    async def winners(self) -> list[UUID]:
        found = self._promotions["vouchers"].find({"campaign_id": self.campaign_id}).sort("position", 1)
        vouchers = [voucher async for voucher in found]
        assert [voucher["position"] for voucher in vouchers] == list(range(1, len(vouchers) + 1))
        return [voucher["user_id"] for voucher in vouchers]


async def order_of(mongo: Client) -> list[UUID]:
    return [entry["user_id"] async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]


async def audit(mongo: Client, broker: NatsClient) -> dict[str, str]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream()).run(proofs.append)
    return {proof.subject: proof.statement for proof in proofs}


async def test_those_next_in_line_get_one_in_order_and_before_newcomers(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 40)
    office = Office(mongo, valkey, await open_campaign(mongo, 5))
    async with workers(mongo, broker, valkey, copies=2):
        await log_in_first(mongo, users[:20])
        await until_judged(mongo, 20)
        order = await order_of(mongo)
        async with asyncio.TaskGroup() as group:  # newcomers all the while
            group.create_task(log_in_first(mongo, users[20:], at_once=4))
            for user_id in (order[1], order[3], order[0]):
                assert (await office.withdraw(user_id, replace=True)).is_replaced
            await office.campaigns.edit(office.campaign_id, {"number_of_promotion": 7}, "test")
            assert not (await office.withdraw(order[2])).is_replaced
        await until_judged(mongo, 40)
        await until(mongo, "vouchers", {}, 10)
        await until(mongo, "campaigns", {"reread_n": None, "remaining_promotion": 0})
        assert await office.winners() == order[:10]
        assert [await office.sees(user_id) for user_id in order[:12]] == [False] * 4 + [True] * 6 + [False] * 2
        proofs = await audit(mongo, broker)
    said = "10 of 10 vouchers, to exactly those who came first, in that order; 4 withdrawn since, 3 replaced"
    assert proofs["campaign “Launch”"] == said
    record = await office.campaigns.find(office.campaign_id)
    assert (record.campaign.number_of_promotion, record.campaign.replacements) == (7, 3)
    found = [one async for one in office.store.find_all(record.campaign)]
    assert [(one.position, one.is_replaced) for one in found] == [(1, True), (2, True), (3, False), (4, True)]


async def test_after_the_end_only_those_who_came_in_time_are_next(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 12)
    office = Office(mongo, valkey, await open_campaign(mongo, 3))
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:4])
        await until_judged(mongo, 4)
        await office.campaigns.close(office.campaign_id, "test")
        await log_in_first(mongo, users[4:])
        await until_judged(mongo, 12)
        order = await order_of(mongo)
        for user_id in order[:2]:
            await office.withdraw(user_id, replace=True)
        await until(mongo, "campaigns", {"reread_n": None, "remaining_promotion": 1})
        await audit(mongo, broker)
    assert await office.winners() == order[:4], "and nobody who came after the end"


async def test_the_same_withdrawal_again_changes_nothing_and_a_replacement_is_made_up_for_once(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    [user] = await add_users(mongo, 1)
    office = Office(mongo, valkey, await open_campaign(mongo, 3))
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, [user])
        await until(mongo, "vouchers", {})
    first = await office.withdraw(user)
    assert await office.withdraw(user, reason="another") == first
    at_once = await asyncio.gather(*(office.withdraw(user, replace=True) for _ in range(4)))
    assert {one.is_replaced for one in at_once} == {True}
    assert {one.withdrawn_at for one in at_once} == {first.withdrawn_at}
    record = await office.campaigns.find(office.campaign_id)
    assert (record.remaining, record.granted, record.campaign.capacity) == (3, 1, 4)
    log = await mongo["promotions"]["audit_log"].find({"action": {"$regex": "withdrawn|extended"}}).to_list()
    noted = {entry["action"]: entry["after"] for entry in log}
    assert len(log) == 2
    assert noted["voucher.withdrawn"] == {
        "is_available": 0,
        "withdrawn_at": first.withdrawn_at,
        "withdrawn_by": "cli:test",
        "withdrawn_reason": "a bot",
    }
    added = noted["campaign.extended"]["added"]
    assert (added["above"], added["replaces"]) == (3, 1)
    events = mongo["promotions"]["outbox"].find({"subject": {"$regex": "withdrawn"}})
    assert await events.to_list(), "told"
    await audit(mongo, broker)


async def test_of_a_withdrawal_and_a_purchase_at_once_one_comes_about(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 8)
    office = Office(mongo, valkey, await open_campaign(mongo, 8))
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users)
        await until(mongo, "vouchers", {}, 8)

    async def attempt(work: Any) -> str:
        try:
            await work
        except Refusal as refusal:
            return refusal.code
        return "done"

    for user_id in users:
        outcomes = await asyncio.gather(
            attempt(office.redemptions.spend(user_id, "a", ORDER, reserve=False)),
            attempt(office.withdraw(user_id)),
        )
        assert tuple(outcomes) in {("done", "voucher_already_redeemed"), ("voucher_withdrawn", "done")}
        assert await office.state(user_id) == ("redeemed" if outcomes[0] == "done" else "withdrawn")
    await audit(mongo, broker)


async def test_a_hold_ends_with_its_voucher_and_a_refunded_voucher_can_be_withdrawn(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 2)
    office = Office(mongo, valkey, await open_campaign(mongo, 2))
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users)
        await until(mongo, "vouchers", {}, 2)
    held = await office.redemptions.spend(users[0], "a", ORDER, reserve=True)
    await office.withdraw(users[0])
    for event in (RedemptionEvent.CONFIRM, RedemptionEvent.RELEASE):
        with pytest.raises(Refusal, match="this reservation ended with it"):
            await office.redemptions.settle(held.id, event, users[0], owner=users[0])
    spent = await office.redemptions.spend(users[1], "a", ORDER, reserve=False)
    with pytest.raises(Refusal, match="This voucher is spent: refund the redemption first"):
        await office.withdraw(users[1])
    for _ in range(2):
        await office.redemptions.settle(spent.id, RedemptionEvent.REFUND, users[1], owner=users[1])
        await office.withdraw(users[1])
    assert [await office.state(user_id) for user_id in users] == ["withdrawn"] * 2
    for user_id in users:
        with pytest.raises(Refusal, match="Your voucher was withdrawn"):
            await office.redemptions.spend(user_id, "b", ORDER, reserve=False)
    await audit(mongo, broker)


async def test_on_the_command_line_a_user_is_named_by_login_or_id_and_a_campaign_if_there_are_several(
    mongo: Client, settings: Settings
) -> None:
    users, vouchers = await add_users(mongo, 3), mongo["promotions"]["vouchers"]
    assert await _user_id(settings, mongo, "user-1@example.com") == users[1]
    assert await _user_id(settings, mongo, str(users[1])) == users[1]
    with pytest.raises(Refusal, match="There is no account"):
        await _user_id(settings, mongo, "nobody")
    campaigns = [await open_campaign(mongo, 1)]
    await CampaignStore(mongo["promotions"]).close(campaigns[0], "test")
    campaigns.append(await open_campaign(mongo, 1, name="Spring"))
    for user_id, mine in ((users[0], campaigns), (users[1], campaigns[:1])):
        for campaign_id in mine:
            voucher = await put_voucher(mongo, user_id)
            position = 1 if user_id == users[0] else 2
            place = {"campaign_id": campaign_id, "position": position}
            await vouchers.update_one({"_id": voucher.id}, {"$set": place})
    assert await _find(mongo, users[1], None) == Wanted(campaigns[0], users[1])
    assert await _find(mongo, users[0], "Spring") == Wanted(campaigns[1], users[0])
    with pytest.raises(Failure, match="vouchers of 2 campaigns: name one with --campaign"):
        await _find(mongo, users[0], None)
    with pytest.raises(Failure, match="this user has no voucher"):
        await _find(mongo, users[2], None)


async def test_what_is_no_voucher_of_the_campaign_is_not_found(mongo: Client, valkey: Redis) -> None:
    [user] = await add_users(mongo, 1)
    office = Office(mongo, valkey, await open_campaign(mongo, 1))
    with pytest.raises(Refusal, match="There is no such voucher in this campaign"):
        await office.withdraw(user)


async def test_the_withdrawals_of_a_campaign_are_found_without_reading_its_other_vouchers(mongo: Client) -> None:
    vouchers, campaign_id = mongo["promotions"]["vouchers"], uuid7()
    documents: list[Document] = [
        {"_id": uuid7(), "campaign_id": campaign_id, "user_id": uuid7(), "position": position}
        for position in range(1, 301)
    ]
    for position in (100, 200):
        documents[position - 1]["withdrawn_at"] = START
    await vouchers.insert_many(documents)
    query: Document = {"campaign_id": campaign_id, "withdrawn_at": {"$exists": True}}
    plan = await vouchers.find(query).sort("position", 1).explain()
    stats = plan["executionStats"]
    assert (stats["nReturned"], stats["totalDocsExamined"], stats["totalKeysExamined"]) == (2, 2, 2)
