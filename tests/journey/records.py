"""What the databases say in the end, and campaigns to measure it by: each test opens its own."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import httpx2
from uuid_utils.compat import uuid7

from earlybird.infra.mongo import Client
from earlybird.promotions.campaigns.model import Campaign, CampaignState
from earlybird.promotions.campaigns.store import CampaignStore
from journey.customers import Person, log_in
from journey.fairness import TimedLogin

DESCRIPTION = "30 % off your next mobile top-up"


@dataclass(frozen=True, slots=True)
class Visit:
    """A first login as the client timed it."""

    person: Person
    token: str
    started: float
    ended: float


async def timed_visit(http: httpx2.AsyncClient, person: Person) -> Visit:
    """Log in; a "not now" belongs to the time it took."""
    started = time.monotonic()
    token = await log_in(http, person)
    return Visit(person, token, started, time.monotonic())


async def close_campaigns(mongo: Client) -> None:
    """Close the campaign that is open, and call off those that are to start."""
    campaigns, now = CampaignStore(mongo["promotions"]), datetime.now(UTC)
    for record in await campaigns.find_all(1000):
        if record.state(now) in {CampaignState.OPEN, CampaignState.SCHEDULED}:
            await campaigns.close(record.campaign.id, "test")


async def open_campaign(mongo: Client, number: int) -> UUID:
    """Close the campaign that is open and open another of so many vouchers; give its id."""
    await close_campaigns(mongo)
    campaigns = CampaignStore(mongo["promotions"])
    draft = Campaign(uuid7(), "Journey", 30, number, DESCRIPTION, 30, None, None, None)
    await campaigns.create(draft, "test")
    return (await campaigns.open(draft.id, "test")).campaign.id


async def until_judged(mongo: Client) -> None:
    """Wait until the granter's cursor has caught up with all first logins."""
    committed = await mongo["identity"]["users"].count_documents({"first_login_at": {"$exists": True}})
    async with asyncio.timeout(30):
        while (await mongo["promotions"]["cursor"].find_one({}) or {"n": 0})["n"] < committed:
            await asyncio.sleep(0.02)


async def user_ids(mongo: Client, people: Sequence[Person]) -> Mapping[str, UUID]:
    found = mongo["identity"]["users"].find({"username": {"$in": [person.username for person in people]}})
    return {user["username"]: user["_id"] async for user in found}


async def as_recorded(mongo: Client, visits: Sequence[Visit], campaign_id: UUID) -> list[TimedLogin]:
    """Put what clients timed beside what ledger and vouchers say."""
    ids = await user_ids(mongo, [visit.person for visit in visits])
    ledger = mongo["identity"]["ledger"].find({"user_id": {"$in": list(ids.values())}})
    numbers = {entry["user_id"]: entry["_id"] async for entry in ledger}
    vouchers = mongo["promotions"]["vouchers"].find({"campaign_id": campaign_id})
    winners = {voucher["user_id"] async for voucher in vouchers}
    assert winners <= set(ids.values()), "a voucher for somebody who was not there"
    return [
        TimedLogin(name, visit.started, visit.ended, numbers[ids[name]], ids[name] in winners)
        for visit in visits
        for name in [visit.person.username]
    ]
