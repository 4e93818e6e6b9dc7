"""What support and managers see: people, timelines, winners, figures, previews; and that nobody else sees it."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from front_door import PASSWORD, Door, front_door
from nats.aio.client import Client as NatsClient
from people import until_placed
from redis.asyncio import Redis
from workers import workers

from earlybird import identity
from earlybird.client import AsyncClient, Refused, api
from earlybird.history.log import Filters
from earlybird.identity.accounts.administration import AccountStore
from earlybird.infra.mongo import Client
from earlybird.operations.privacy import erase_person
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.reports.store import summing
from earlybird.settings import Settings

ORDER = api.Purchase("topup-1", 100_000, "VND")
LOOKS = [
    api.campaigns(),
    api.campaign(UUID(int=1)),
    api.search_person("person-0"),
    api.person(UUID(int=1)),
    api.names([UUID(int=1)]),
    api.holder(UUID(int=1)),
    api.first_logins_curve(),
    api.winners(UUID(int=1)),
    api.redemptions(UUID(int=1)),
    api.withdrawals(UUID(int=1)),
    api.figures(UUID(int=1)),
    api.grant_curve(UUID(int=1)),
    api.preview_change(UUID(int=1), "open"),
    api.preview_campaign(name="Launch", discount=30, number_of_promotion=1),
    api.log("identity"),
    api.log("promotions"),
]


class Bank:
    """Both services, their workers, and people with roles."""

    def __init__(self, door: Door, mongo: Client, broker: NatsClient, valkey: Redis) -> None:
        self.door, self.mongo = door, mongo
        self.client = AsyncClient(str(door.http.base_url))
        self.broker, self.valkey = broker, valkey

    async def come(self, i: int) -> AsyncClient:
        """Have somebody register and log in; return the client in their name."""
        name = await self.door.register(i)
        return self.client.as_((await self.client.send(api.log_in(name, PASSWORD))).token)

    async def staff(self, i: int, role: str) -> AsyncClient:
        name = await self.door.register(i)
        accounts = AccountStore(self.mongo[identity.DATABASE], "VN")
        await accounts.grant_role(name, role, "test")
        await accounts.revoke_role(name, "customer", "test")
        return self.client.as_((await self.client.send(api.log_in(name, PASSWORD))).token)

    async def judged(self, support: AsyncClient, person: Any) -> Any:
        holder = await support.send(api.holder(person.id, person.number, person.first_login_at))
        return holder.judged

    async def until_caught_up(self, campaign_id: UUID) -> None:
        async with asyncio.timeout(20):
            while (await CampaignStore(self.mongo["promotions"]).find(campaign_id)).reread_n is not None:
                await asyncio.sleep(0.05)

    async def until_granted(self, campaign_id: UUID, count: int) -> None:
        async with asyncio.timeout(20):
            while (await CampaignStore(self.mongo["promotions"]).find(campaign_id)).granted < count:
                await asyncio.sleep(0.05)


@pytest.fixture
async def bank(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> AsyncIterator[Bank]:
    async with front_door(settings, tmp_path) as door, workers(mongo, broker, valkey):
        one = Bank(door, mongo, broker, valkey)
        async with one.client:
            yield one


async def refusal(client: AsyncClient, call: Any) -> str:
    with pytest.raises(Refused) as refused:
        await client.send(call)
    return refused.value.code


async def test_the_whole_story_of_a_campaign_is_seen_by_support_and_by_nobody_else(bank: Bank) -> None:
    manager, support = await bank.staff(100, "campaign_manager"), await bank.staff(101, "support")
    terms = {"discount": 30, "number_of_promotion": 2, "currency": "VND", "max_discount_amount": 50_000}
    preview = await support.send(api.preview_campaign(name="Launch", **terms))
    assert (preview.most_discount_amount, preview.campaign.state) == (100_000, "draft")
    assert await support.send(api.campaigns()) == [], "a preview keeps nothing"
    campaign = await manager.send(api.create_campaign(name="Launch", **terms))
    assert (await support.send(api.preview_change(campaign.id, "open"))).people_at_once == 0
    await manager.send(api.open_campaign(campaign.id))
    people = [await bank.come(i) for i in range(4)]
    await until_placed(bank.mongo, 4)

    # Spend, hold, refund; then withdraw, with a replacement.
    spent = await people[0].send(api.redeem(ORDER))
    await people[0].send(api.refund(spent.id))
    await people[0].send(api.redeem(api.Purchase("topup-2", 200_000, "VND")))
    held = await people[1].send(api.reserve(ORDER))
    figures = await support.send(api.figures(campaign.id))
    assert (figures.granted, figures.remaining, figures.redeemed, figures.held) == (2, 0, 1, 1)
    assert (figures.refunded, figures.in_line, figures.most_still) == (1, 2, 50_000)
    assert [(one.currency, one.amount) for one in figures.given] == [("VND", 50_000)]
    found = await support.send(api.winners(campaign.id))
    assert [(one.position, one.state) for one in found.winners] == [(1, "redeemed"), (2, "reserved")]
    await manager.send(
        api.withdraw(campaign.id, user_id=found.winners[1].user_id, reason="a second account", replace=True)
    )
    assert await refusal(people[1], api.confirm(held.id)) == "voucher_withdrawn"

    # A preview of a raise says what then happens.
    preview = await support.send(api.preview_change(campaign.id, "edit", number_of_promotion=10))
    await bank.until_granted(campaign.id, 3)
    preview = await support.send(api.preview_change(campaign.id, "edit", number_of_promotion=10))
    assert preview.people_at_once == 1
    await manager.send(api.edit_campaign(campaign.id, number_of_promotion=10))
    await bank.until_granted(campaign.id, 4)

    # Paging, one person's part, names, curves, the log.
    page = await support.send(api.winners(campaign.id, limit=3))
    rest = await support.send(api.winners(campaign.id, after=page.next))
    assert [one.position for one in (*page.winners, *rest.winners)] == [1, 2, 3, 4]
    assert rest.next is None
    ids = [one.user_id for one in (*page.winners, *rest.winners)]
    names = {one.id: one.username for one in await support.send(api.names(ids))}
    assert [names[one] for one in ids] == [f"person-{i}" for i in range(4)]
    spendings = await support.send(api.redemptions(campaign.id, limit=2))
    older = await support.send(api.redemptions(campaign.id, before=spendings.next))
    states = [one.state for one in (*spendings.redemptions, *older.redemptions)]
    assert states == ["withdrawn", "redeemed", "refunded"]
    assert [one.position for one in (await support.send(api.withdrawals(campaign.id))).withdrawals] == [2]
    curve = await support.send(api.first_logins_curve(points=2))
    assert (curve.head, [point.number for point in curve.points]) == (4, [1, 4])
    grants = await support.send(api.grant_curve(campaign.id))
    assert (grants.first_number, [point.position for point in grants.points]) == (1, [1, 2, 3, 4])
    raised = await support.send(api.log("promotions", subject=campaign.id, action="campaign.edited"))
    assert [entry.after for entry in raised.entries if entry.after] != []
    assert {entry.action for entry in raised.entries} == {"campaign.edited"}
    later = await support.send(api.log("promotions", since=raised.entries[0].at.replace(year=2099)))
    assert later.entries == []

    # Support changes nothing, and a customer sees nothing.
    changes = [
        api.create_campaign(name="Other", discount=1, number_of_promotion=1),
        api.open_campaign(campaign.id),
        api.close_campaign(campaign.id),
        api.edit_campaign(campaign.id, number_of_promotion=11),
        api.withdraw(campaign.id, user_id=ids[0], reason="none"),
    ]
    assert [await refusal(support, call) for call in changes] == ["forbidden"] * len(changes)
    assert [await refusal(people[0], call) for call in LOOKS] == ["forbidden"] * len(LOOKS)
    assert [await refusal(bank.client, call) for call in LOOKS] == ["missing_token"] * len(LOOKS)


async def test_support_sees_one_persons_timeline_and_the_reason_for_every_no(bank: Bank) -> None:
    manager, support = await bank.staff(100, "campaign_manager"), await bank.staff(101, "support")
    await bank.come(0)
    await until_placed(bank.mongo, 1)
    early = await support.send(api.search_person("PERSON-0@example.com"))
    assert (early.email, early.phone, early.number) == ("p•••@example.com", "•••000", 1)
    judged = await bank.judged(support, early)
    assert (judged.standing, judged.place, judged.has_won) == ("no_campaign", None, False)
    campaign = await manager.send(api.create_campaign(name="Launch", discount=30, number_of_promotion=1))
    await manager.send(api.open_campaign(campaign.id))
    ada, late = await bank.come(1), await bank.come(2)
    await until_placed(bank.mongo, 3)
    held = await ada.send(api.reserve(ORDER))
    await ada.send(api.confirm(held.id))
    person = await support.send(api.search_person("person-1"))
    assert (await bank.judged(support, person)).place == 1
    assert (await bank.judged(support, early)).standing == "before_the_start"
    missed = await support.send(api.search_person("+84 912 000 002"))
    judged = await bank.judged(support, missed)
    assert (judged.place, judged.has_won, judged.last_winner_at) == (2, False, person.first_login_at)
    seen = await support.send(api.person(person.id))
    assert [entry.what for entry in seen.timeline] == ["account.registered", "login.first"]
    assert "number 2 of all" in seen.timeline[1].text
    story = (await support.send(api.holder(person.id))).timeline
    assert [entry.what for entry in story] == ["voucher.granted", "redemption.reserved", "redemption.redeemed"]
    assert story[2].discount_amount == 30_000
    await AccountStore(bank.mongo["identity"], "VN").disable("person-1", "cli:test")
    await erase_person(bank.mongo, "person-1", "VN", "cli:test")
    gone = await support.send(api.person(person.id))
    assert (gone.person.username, gone.person.email, gone.person.number) == (None, None, 2)
    assert [entry.what for entry in gone.timeline][-2:] == ["account.disabled", "account.erased"]
    assert [one.username for one in await support.send(api.names([person.id]))] == [None]
    assert await refusal(support, api.search_person("nobody")) == "account_not_found"
    assert await refusal(support, api.person(UUID(int=7))) == "account_not_found"
    assert late is not None


async def test_a_preview_says_what_then_happens_and_keeps_nothing(bank: Bank) -> None:
    """Goal: nobody is surprised. Method: raise a number below, to and beyond the end of the line; compare."""
    manager, support = await bank.staff(100, "campaign_manager"), await bank.staff(101, "support")
    terms = {"discount": 30, "number_of_promotion": 1, "currency": "VND", "max_discount_amount": 50_000}
    campaign = (await manager.send(api.create_campaign(name="Launch", **terms))).id
    await manager.send(api.open_campaign(campaign))
    for i in range(6):
        await bank.come(i)
    await until_placed(bank.mongo, 6)
    granted = 1
    for number in (2, 4, 6, 10):
        log = await support.send(api.log("promotions"))
        preview = await support.send(api.preview_change(campaign, "edit", number_of_promotion=number))
        assert await support.send(api.log("promotions")) == log, "a preview keeps nothing"
        await manager.send(api.edit_campaign(campaign, number_of_promotion=number))
        await bank.until_caught_up(campaign)
        figures = await support.send(api.figures(campaign))
        assert figures.granted == granted + preview.people_at_once == min(number, 6)
        assert figures.most_still == preview.most_discount_amount == number * 50_000
        would_be = preview.campaign.remaining_promotion - preview.people_at_once
        now = await support.send(api.campaign(campaign))
        assert (now.remaining_promotion, now.number_of_promotion) == (would_be, number)
        granted = figures.granted
    preview = await support.send(api.preview_change(campaign, "close"))
    assert (preview.campaign.state, preview.people_at_once) == ("closed", 0)
    assert (await support.send(api.campaign(campaign))).state == "open"
    assert await refusal(support, api.preview_change(campaign, "edit", number_of_promotion=5)) == await refusal(
        manager, api.edit_campaign(campaign, number_of_promotion=5)
    )
    story = (await support.send(api.holder((await support.send(api.search_person("person-5"))).id))).timeline
    assert "there were more vouchers" in story[0].text
    staff = await support.send(api.search_person("person-101"))
    assert "staff" in (staff.why_no_number or "")


async def test_whoever_looks_at_a_person_is_noted_and_no_address_is(bank: Bank) -> None:
    support = await bank.staff(101, "support")
    await bank.come(0)
    own = str((await support.send(api.search_person("person-101"))).id)
    person = await support.send(api.search_person("person-0@example.com"))
    await support.send(api.person(person.id))
    await support.send(api.holder(person.id))
    await support.send(api.names([person.id]))
    bank.door.process.terminate()
    assert bank.door.process.stdout is not None
    assert bank.door.process.stderr is not None
    logged = (await bank.door.process.stdout.read() + await bank.door.process.stderr.read()).decode()
    looks = [
        json.loads(line) for line in logged.splitlines() if '"person_viewed"' in line or '"people_named"' in line
    ]
    assert [(look["event"], look["user"], look["by"]) for look in looks] == [
        ("person_viewed", own, own),
        *[("person_viewed", str(person.id), own)] * 3,
        ("people_named", None, own),
    ]
    assert {look["log"] for look in looks} == {"security"}
    assert "person-0" not in logged


def steps_of(plan: Any) -> set[str]:
    """The kinds of steps in the plan of a query."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "stage" in node:
                found.add(node["stage"])
            for part in node.values():
                walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(plan["queryPlanner"]["winningPlan"])
    return found


async def test_every_look_is_found_by_index(mongo: Client) -> None:
    promotions, one = mongo["promotions"], UUID(int=1)
    queries = [
        promotions["vouchers"].find({"campaign_id": one, "position": {"$gt": 1}}).sort("position", 1),
        promotions["vouchers"].find({"campaign_id": one, "user_id": one}).sort("position", 1),
        promotions["redemptions"].find({"campaign_id": one, "_id": {"$lt": one}}).sort("_id", -1),
        promotions["redemptions"].find({"voucher_id": {"$in": [one]}}),
        promotions["vouchers"]
        .find({"campaign_id": one, "position": {"$gt": 1}, "withdrawn_at": {"$exists": True}})
        .sort("position", 1),
        promotions["vouchers"].find({"user_id": one}),
        promotions["vouchers"].find({"campaign_id": one, "position": {"$in": [1, 2]}}).sort("position", 1),
        promotions["vouchers"].find({"campaign_id": one, "withdrawn_at": {"$exists": True}}),
        promotions["places"].find({"campaign_id": one}).sort("first_n", -1).limit(1),
        mongo["identity"]["ledger"].find({"user_id": one}),
        mongo["identity"]["ledger"].find({"_id": {"$in": [1, 2]}}).sort("_id", 1),
        mongo["identity"]["users"].find({"_id": {"$in": [one]}}),
        *(
            mongo["identity"][people].find({field: "a"})
            for people in ("users", "unverified_accounts")
            for field in ("username", "email", "phone")
        ),
        *(
            mongo[database]["audit_log"].find(which.query(None)).sort("order", -1)
            for database in ("identity", "promotions")
            for which in (Filters(actor="a"), Filters(action="a"), Filters(subject=one), Filters())
        ),
    ]
    for query in queries:
        steps = steps_of(await query.explain())
        assert any(step.endswith("IXSCAN") for step in steps), steps
        assert not steps & {"COLLSCAN", "SORT"}, steps
    summed = {"aggregate": "redemptions", "pipeline": summing(one, datetime.now(UTC)), "cursor": {}}
    steps = steps_of(
        await promotions.command(
            {"explain": summed, "verbosity": "queryPlanner"}, codec_options=promotions.codec_options
        )
    )
    assert "IXSCAN" in steps
    assert not steps & {"COLLSCAN", "FETCH"}, "the figures of a million vouchers come from the index alone"
