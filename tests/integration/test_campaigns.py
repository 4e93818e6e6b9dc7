"""Campaigns are run: one open at a time, by hand or by the clock, and N is raised for those next in line."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged
from redis.asyncio import Redis
from uuid_utils.compat import uuid7
from workers import workers

from earlybird.errors import Refusal
from earlybird.history.log import AuditLog
from earlybird.infra.mongo import Client, database_time
from earlybird.operations.audit import Audit, Proof
from earlybird.promotions.campaigns.model import Campaign, CampaignState
from earlybird.promotions.campaigns.store import CampaignStore


def draft(**terms: Any) -> Campaign:
    given: dict[str, Any] = {
        "id": uuid7(), "name": "Launch", "discount": 30, "number_of_promotion": 10, "description": "30 % off",
        "voucher_days": 30, "first_n": None, "starts_at": None, "ends_at": None,
    }  # fmt: skip
    return Campaign(**(given | terms))


async def audit(mongo: Client, broker: NatsClient) -> list[Proof]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream()).run(proofs.append)
    return proofs


async def winners(mongo: Client, campaign_id: UUID) -> list[UUID]:
    found = mongo["promotions"]["vouchers"].find({"campaign_id": campaign_id}).sort("position", 1)
    return [voucher["user_id"] async for voucher in found]


async def ledger_order(mongo: Client) -> list[UUID]:
    return [entry["user_id"] async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]


@pytest.fixture
def campaigns(mongo: Client) -> CampaignStore:
    return CampaignStore(mongo["promotions"])


async def test_of_many_managers_who_open_a_campaign_at_once_one_succeeds(
    mongo: Client, campaigns: CampaignStore
) -> None:
    drafts, campaign_time = [draft() for _ in range(12)], await database_time(mongo["promotions"])
    for one in drafts:
        await campaigns.create(one, "test")

    async def open_one(campaign: Campaign) -> str:
        try:
            return (await campaigns.open(campaign.id, "test")).state(campaign_time)
        except Refusal as refusal:
            return refusal.code

    outcomes = await asyncio.gather(*map(open_one, drafts))
    assert sorted(outcomes) == ["campaign_already_open"] * 11 + ["open"]
    assert await mongo["promotions"]["campaigns"].count_documents({"is_available": 1}) == 1


async def test_the_database_itself_holds_that_one_is_open(mongo: Client) -> None:
    """The rules are asked first; this is what is left if they are wrong."""
    await open_campaign(mongo, 10)
    stored = mongo["promotions"]["campaigns"]
    campaign = await stored.find_one({})
    assert campaign is not None
    with pytest.raises(Exception, match="one_available"):
        await stored.insert_one(campaign | {"_id": uuid7()})


async def test_a_scheduled_campaign_starts_and_ends_with_nobody_present(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    users = await add_users(mongo, 30)
    now = await database_time(mongo["promotions"])
    window = {"starts_at": now + timedelta(seconds=1), "ends_at": now + timedelta(seconds=2.5)}
    scheduled = await campaigns.create(draft(number_of_promotion=100, **window), "test")
    assert scheduled.state(now) is CampaignState.SCHEDULED
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:10])
        await until(mongo, "campaigns", {"is_available": 1})
        await log_in_first(mongo, users[10:20])
        await until(mongo, "campaigns", {"is_available": 0})
        await log_in_first(mongo, users[20:])
        await until_judged(mongo, 30)
    assert set(await winners(mongo, scheduled.campaign.id)) == set(users[10:20])
    log = await AuditLog(mongo["promotions"]).read_page(None, 100)
    by_the_clock = [entry["action"] for entry in reversed(log) if entry["actor"] == "schedule"]
    assert by_the_clock == ["campaign.opened", "campaign.closed"]
    await audit(mongo, broker)


async def test_the_window_is_judged_by_the_time_of_the_login_not_of_the_processing(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    """Nobody works while the campaign runs: it is over before the first login is judged."""
    users = await add_users(mongo, 15)
    campaign_id = await open_campaign(mongo, 100)
    await log_in_first(mongo, users[:10])
    await campaigns.close(campaign_id, "test")
    await log_in_first(mongo, users[10:])
    async with workers(mongo, broker, valkey):
        await until_judged(mongo, 15)
    assert set(await winners(mongo, campaign_id)) == set(users[:10])
    await audit(mongo, broker)


async def test_after_a_raise_those_next_in_line_get_theirs_in_order_and_before_newcomers(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    users = await add_users(mongo, 80)
    campaign_id = await open_campaign(mongo, 10)
    async with workers(mongo, broker, valkey, copies=2):
        await log_in_first(mongo, users[:40])
        await until_judged(mongo, 40)
        assert len(await winners(mongo, campaign_id)) == 10
        async with asyncio.TaskGroup() as group:  # newcomers all the while
            group.create_task(log_in_first(mongo, users[40:], at_once=4))
            for number in (15, 25, 60):
                await campaigns.edit(campaign_id, {"number_of_promotion": number}, "test")
        await until_judged(mongo, 80)
        await until(mongo, "vouchers", {"campaign_id": campaign_id}, 60)
        await audit(mongo, broker)
    assert await winners(mongo, campaign_id) == (await ledger_order(mongo))[:60]
    assert await campaigns.find_behind() == []


async def test_a_raise_after_the_end_is_for_those_who_came_in_time(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    users = await add_users(mongo, 30)
    campaign_id = await open_campaign(mongo, 5)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:12])
        await until_judged(mongo, 12)
        await campaigns.close(campaign_id, "test")
        await log_in_first(mongo, users[12:])
        await until_judged(mongo, 30)
        raised = await campaigns.edit(campaign_id, {"number_of_promotion": 20}, "test")
        await until(mongo, "campaigns", {"_id": campaign_id, "reread_n": None, "remaining_promotion": 8})
        await audit(mongo, broker)
    assert await winners(mongo, campaign_id) == (await ledger_order(mongo))[:12]
    last = await mongo["promotions"]["vouchers"].find_one({"campaign_id": campaign_id, "position": 12})
    assert last is not None
    assert last["expire_at"] == raised.updated_at + timedelta(days=30), "the whole time, from the raise on"


async def test_a_number_is_never_below_what_was_granted(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    users = await add_users(mongo, 6)
    campaign_id = await open_campaign(mongo, 10)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users)
        await until_judged(mongo, 6)
    with pytest.raises(Refusal, match="6 vouchers are granted"):
        await campaigns.edit(campaign_id, {"number_of_promotion": 5}, "test")
    lowered = await campaigns.edit(campaign_id, {"number_of_promotion": 6}, "test")
    assert (lowered.remaining, lowered.reread_n) == (0, None)
    await audit(mongo, broker)


async def test_the_terms_are_free_until_the_first_voucher_and_then_fixed(
    mongo: Client, broker: NatsClient, valkey: Redis, campaigns: CampaignStore
) -> None:
    [user] = await add_users(mongo, 1)
    campaign_id = await open_campaign(mongo, 10)
    await campaigns.edit(campaign_id, {"discount": 20, "currency": "VND", "max_discount_amount": 50_000}, "test")
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, [user])
        await until_judged(mongo, 1)
    voucher = await mongo["promotions"]["vouchers"].find_one({})
    assert voucher is not None
    assert (voucher["discount"], voucher["currency"], voucher["max_discount_amount"]) == (20, "VND", 50_000)
    with pytest.raises(Refusal, match="discount: vouchers were granted on these terms"):
        await campaigns.edit(campaign_id, {"discount": 30}, "test")
    renamed = await campaigns.edit(campaign_id, {"name": "Spring"}, "test")
    assert renamed.campaign.name == "Spring"
    await audit(mongo, broker)


async def test_every_change_is_in_the_audit_log_with_who_and_what(mongo: Client, campaigns: CampaignStore) -> None:
    made = draft()
    await campaigns.create(made, "ada")
    await campaigns.edit(made.id, {"discount": 40}, "grace")
    await campaigns.open(made.id, "ada")
    await campaigns.open(made.id, "ada")  # changes nothing
    await campaigns.close(made.id, "edsger")
    log = list(reversed(await AuditLog(mongo["promotions"]).read_page(None, 10)))
    assert [(entry["actor"], entry["action"]) for entry in log] == [
        ("ada", "campaign.created"), ("grace", "campaign.edited"), ("ada", "campaign.opened"),
        ("edsger", "campaign.closed"),
    ]  # fmt: skip
    assert (log[1]["before"], log[1]["after"]) == ({"discount": 30}, {"discount": 40})
    assert {entry["subject"] for entry in log} == {made.id}
