"""`earlybird demo`, as a person runs it beside a running stack."""

import re

from earlybird.infra.mongo import Client
from journey.records import open_campaign
from journey.stack_client import RunningStack, earlybird

WINNER = re.compile(r"│\s*(\d+)\s*│\s*(demo-\S+)\s*│")


async def in_order_of_first_login(mongo: Client, names: set[str]) -> list[str]:
    """Sort people as the ledger numbers them; by their times they may differ, when within a millisecond or so."""
    users = mongo["identity"]["users"].find({"username": {"$in": list(names)}})
    ids = {user["_id"]: user["username"] async for user in users}
    ledger = mongo["identity"]["ledger"].find({"user_id": {"$in": list(ids)}}).sort("_id", 1)
    return [ids[entry["user_id"]] async for entry in ledger]


async def test_the_demo_shows_100_winners_in_order_and_may_be_run_again(
    stack: RunningStack, mongo: Client
) -> None:
    await open_campaign(mongo, 100)
    first, second = [await earlybird(stack, "demo", "--users", "120") for _ in range(2)]
    assert "used up" not in first
    assert "used up; opening another" in second
    winners_of_both: list[str] = []
    for output in (first, second):
        winners = WINNER.findall(output)
        assert [int(position) for position, _ in winners] == list(range(1, 101)), output
        names = [name for _, name in winners]
        assert names == await in_order_of_first_login(mongo, set(names))
        winners_of_both += names
        assert "100 of these 120 people hold a voucher" in output
        assert "Audit passed" in output
    assert len(set(winners_of_both)) == 200
