"""Everybody sees their place: winners, all others, and whoever has none with the true reason."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from front_door import Door, front_door
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until_judged, until_placed
from redis.asyncio import Redis
from workers import workers

from earlybird.errors import Refusal
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit, Difference
from earlybird.operations.places import find_place
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.settings import Settings


async def places(mongo: Client, names: Sequence[str]) -> list[tuple[str, int | None, bool]]:
    found = [await find_place(mongo, name, "VN") for name in names]
    return [(one["standing"], one["place"], one["has_won"]) for one in found]


async def come(mongo: Client, users: Sequence[UUID]) -> None:
    """Log them in one after another."""
    for user in users:
        await log_in_first(mongo, [user])


async def test_everybody_has_the_place_in_which_they_came_and_the_others_the_reason(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 9)
    names = [f"user-{i}" for i in range(9)]
    await mongo["identity"]["users"].update_one({"_id": users[7]}, {"$set": {"roles": ["campaign_manager"]}})
    async with workers(mongo, broker, valkey, copies=2):
        assert await places(mongo, names[:1]) == [("never_came", None, False)]
        await come(mongo, users[:2])
        await until_judged(mongo, 2)
        await until_placed(mongo, 2)
        assert await places(mongo, names[:1]) == [("no_campaign", None, False)]
        campaign_id = await open_campaign(mongo, 2)
        await come(mongo, users[2:6])
        await until_placed(mongo, 6)
        await CampaignStore(mongo["promotions"]).close(campaign_id, "test")
        await come(mongo, users[6:7])
        await until_placed(mongo, 7)
        await CampaignStore(mongo["promotions"]).edit(campaign_id, {"number_of_promotion": 3}, "test")
        async with asyncio.timeout(20):
            while (await places(mongo, names[4:5]))[0] != ("counted", 3, True):
                await asyncio.sleep(0.05)
    expected = [
        *[("before_the_start", None, False)] * 2,
        *[("counted", 1, True), ("counted", 2, True), ("counted", 3, True), ("counted", 4, False)],
        *[("after_the_end", None, False), ("staff", None, False), ("never_came", None, False)],
    ]
    assert await places(mongo, names) == expected
    last = await find_place(mongo, "user-4", "VN")
    assert last["last_winner_at"] == last["first_login_at"]
    with pytest.raises(Refusal, match="There is no account"):
        await find_place(mongo, "nobody", "VN")


async def test_whoever_is_numbered_and_not_judged_yet_waits(mongo: Client) -> None:
    await open_campaign(mongo, 2)
    [user] = await add_users(mongo, 1)
    await log_in_first(mongo, [user])
    assert await places(mongo, ["user-0"]) == [("waiting", None, False)]
    entry = (await mongo["identity"]["users"].find_one({"_id": user}) or {})["first_login_at"]
    await Ledger(mongo["identity"]).append(0, [])
    await mongo["identity"]["ledger"].insert_one(
        {"_id": 1, "user_id": user, "first_login_at": entry, "seal": bytes(32)}
    )
    assert await places(mongo, ["user-0"]) == [("waiting", None, False)]


async def test_a_campaign_of_an_older_version_gets_its_places_and_the_audit_proves_them(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users, names = await add_users(mongo, 6), [f"user-{i}" for i in range(6)]
    async with workers(mongo, broker, valkey):
        await come(mongo, users[:2])
        await until_judged(mongo, 2)
        await open_campaign(mongo, 2)
        await come(mongo, users[2:])
        await until_placed(mongo, 6)
    before = await places(mongo, names)
    await mongo["promotions"]["places"].delete_many({})
    async with workers(mongo, broker, valkey):
        await until_placed(mongo, 6)
        assert await places(mongo, names) == before
        await Audit(mongo, broker.jetstream()).run(lambda _: None)
        await mongo["promotions"]["places"].update_one({"first_n": 3}, {"$inc": {"first_place": 1}})
        with pytest.raises(Difference, match="places: entry 3"):
            await Audit(mongo, broker.jetstream()).run(lambda _: None)


async def place(door: Door, token: str) -> dict[str, Any]:
    answer = await door.ask("/place", token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()["place"]
    return found


async def test_a_place_comes_over_http_with_its_receipt(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    await open_campaign(mongo, 1)
    async with workers(mongo, broker, valkey), front_door(settings, tmp_path) as door:
        tokens = [await door.token(await door.register(i)) for i in range(2)]
        await until_placed(mongo, 2)
        first, second = [await place(door, token) for token in tokens]
        seen = [(one["place"], one["has_won"], one["total"]) for one in (first, second)]
        assert seen == [(1, True, 1), (2, False, 1)]
        assert second["last_winner_at"] == first["first_login_at"] < second["first_login_at"]
        assert second["receipt"]["n"] == 2
        current = (await door.http.get("/campaigns/current")).json()["campaign"]
        assert (current["is_sold_out"], current["remaining"]) == (True, 0)
        latest = (await door.http.get("/seals/latest")).json()
        assert (latest["n"], latest["seal"]) == (2, second["receipt"]["seal"])
        assert (await door.http.get("/place")).status_code == 401
        since = datetime.now(UTC) - datetime.fromisoformat(first["first_login_at"])
        assert timedelta() < since < timedelta(minutes=5)
