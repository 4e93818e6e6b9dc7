"""Somebody at the bank runs a campaign from the command line."""

import csv
import io
import json
import sys
from pathlib import Path

import httpx2
import pytest

from earlybird.infra.mongo import Client
from journey.customers import log_in, new_person, register, until_voucher
from journey.records import close_campaigns
from journey.stack_client import RunningStack, attempt, earlybird


@pytest.fixture(autouse=True)
async def _nothing_open(mongo: Client) -> None:
    await close_campaigns(mongo)


async def test_a_campaign_is_run_from_the_command_line(stack: RunningStack, http: httpx2.AsyncClient) -> None:
    made = json.loads(
        await earlybird(
            stack, "campaign", "create", "--name", "CLI", "--discount", "40", "--number", "2", "--json"
        )
    )
    assert (made["state"], made["description"]) == ("draft", "40 % off your next purchase")
    assert "open" in await earlybird(stack, "campaign", "open", "CLI")
    people = [new_person() for _ in range(3)]
    for person in people:
        await register(http, person)
        await log_in(http, person)
    assert (
        json.loads(await earlybird(stack, "campaign", "edit", "--number", "3", "--json"))["number_of_promotion"]
        == 3
    )
    await until_voucher(http, await log_in(http, people[2]))
    rows = await winners(stack, made["id"])
    assert [row["username"] for row in rows] == [person.username for person in people]
    assert [row["position"] for row in rows] == ["1", "2", "3"]
    assert {row["state"] for row in rows} == {"available"}
    lines = (await earlybird(stack, "campaign", "winners", "--json")).splitlines()
    assert [json.loads(line)["username"] for line in lines] == [person.username for person in people]
    assert "3 of 3 vouchers" in await earlybird(stack, "campaign", "winners", made["id"])
    assert made["id"] in await earlybird(stack, "campaign", "list")
    assert json.loads(await earlybird(stack, "campaign", "close", "CLI", "--json"))["state"] == "closed"
    assert json.loads(await earlybird(stack, "campaign", "show", made["id"], "--json"))["state"] == "closed"


async def winners(stack: RunningStack, which: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(await earlybird(stack, "campaign", "winners", which, "--csv"))))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "--name", "x", "--discount", "101", "--number", "1"], "--discount: "),
        (["create", "--name", "x", "--discount", "10", "--number", "1", "--days", "0"], "--days: "),
        (["create", "--name", "x", "--discount", "10", "--number", "1", "--currency", "dong"], "--currency: "),
        (["create", "--name", "x", "--discount", "10", "--number", "1", "--min-amount", "5"], "needs a currency"),
        (
            ["create", "--name", "x", "--discount", "10", "--number", "1", "--starts-at", "2030-01-01"],
            "--starts-at: ",
        ),
        (["show", "no such name"], "there is no campaign named"),
        (["show", "00000000-0000-7000-8000-000000000000"], "There is no such campaign"),
        (["edit"], "say what to change"),
    ],
)
async def test_a_command_that_cannot_be_done_says_why_in_one_line(
    stack: RunningStack, words: list[str], says: str
) -> None:
    program: list[str | Path] = [
        sys.executable,
        "-m",
        "earlybird",
        "campaign",
        *words,
        "--data-dir",
        stack.data_dir,
    ]
    code, output = await attempt(program)
    assert (code, len(output.splitlines())) == (1, 1), output
    assert output.startswith("earlybird: ")
    assert says in output
