"""Every procedure of docs/runbook.md, with the commands as they stand there, on what they are for."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged
from redis.asyncio import Redis
from structlog.testing import capture_logs
from workers import workers

from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.infra.mongo import Client
from earlybird.settings import Settings

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
Working = Callable[[], AbstractAsyncContextManager[None]]
Follow = Callable[[str], Awaitable[str]]


def commands(section: str) -> list[str]:
    """Give the commands of a section of the runbook."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "".join(blocks).splitlines()


async def run(command: str, settings: Settings, folder: Path) -> tuple[int, str]:
    """Run one command of the runbook; give its exit code and what it printed."""
    program, *words = command.split()
    assert program == "earlybird"
    environment = os.environ | {
        "EARLYBIRD_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "EARLYBIRD_NATS_URL": settings.nats_url.get_secret_value(),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "earlybird", *words),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.fixture
def follow(settings: Settings, tmp_path: Path) -> Follow:
    """Runs the commands of a section, which must all succeed and end with a passed audit."""

    async def follow(section: str) -> str:
        printed = ""
        for command in commands(section):
            code, output = await run(command, settings, tmp_path)
            assert code == 0, f"{command}\n{output}"
            printed += output
        assert printed.rstrip().endswith("the vouchers are exactly what ledger and campaigns say.")
        return printed

    return follow


@pytest.fixture
def working(mongo: Client, broker: NatsClient, valkey: Redis) -> Working:
    """Runs the workers for the length of a block."""
    return lambda: workers(mongo, broker, valkey)


async def with_ten_judged(mongo: Client, working: Working) -> None:
    await open_campaign(mongo, 5)
    async with working():
        await log_in_first(mongo, await add_users(mongo, 10))
        await until_judged(mongo, 10)


async def until_logged(logs: list[Any], event: str) -> None:
    async with asyncio.timeout(30):
        while event not in {entry["event"] for entry in logs}:
            await asyncio.sleep(0.02)


async def last_sequence(broker: NatsClient) -> int:
    return (await broker.jetstream().stream_info(STREAM)).state.last_seq


async def refill_by_hand(broker: NatsClient, payloads: list[bytes]) -> None:
    """Put something else into the stream, as somebody might who means well."""
    await broker.jetstream().delete_stream(STREAM)
    await broker.jetstream().add_stream(name=STREAM, subjects=[SUBJECT], allow_direct=True)
    for payload in payloads:
        await broker.jetstream().publish(SUBJECT, payload)


async def ledger(mongo: Client) -> list[FirstLogin]:
    found = mongo["identity"]["ledger"].find().sort("_id", 1)
    return [FirstLogin(entry["_id"], entry["user_id"], entry["first_login_at"]) async for entry in found]


async def more_people_win_nothing_twice(mongo: Client, first: int = 10) -> None:
    await log_in_first(mongo, await add_users_after(mongo, first))
    await until_judged(mongo, first + 3)
    assert await mongo["promotions"]["vouchers"].count_documents({}) == 5


async def add_users_after(mongo: Client, first: int) -> list[Any]:
    await mongo["identity"]["users"].update_many(
        {"username": {"$regex": "^user-"}},
        [{"$set": {name: {"$concat": ["old-", f"${name}"]} for name in ("username", "email", "phone")}}],
    )
    assert await mongo["identity"]["users"].count_documents({}) == first
    return await add_users(mongo, 3)


async def test_stream_lost(mongo: Client, broker: NatsClient, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    with capture_logs() as logs:
        async with working():
            await broker.jetstream().delete_stream(STREAM)
            await until_logged(logs, "stream_created")
            await follow("Stream lost")
            await more_people_win_nothing_twice(mongo)


async def test_stream_behind(mongo: Client, broker: NatsClient, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    await refill_by_hand(broker, [entry.to_json() for entry in (await ledger(mongo))[:4]])
    async with working():
        await follow("Stream behind")
    assert await last_sequence(broker) == 10


async def test_stream_not_of_this_ledger(
    mongo: Client, broker: NatsClient, working: Working, follow: Follow
) -> None:
    await with_ten_judged(mongo, working)
    shifted = [replace(entry, n=entry.n + 4) for entry in await ledger(mongo)]
    await refill_by_hand(broker, [entry.to_json() for entry in shifted])
    with capture_logs() as logs:
        async with working():
            await until_logged(logs, "stream_ahead")
            assert "It is refilled with 10 messages." in await follow("Stream not of this ledger")
            await more_people_win_nothing_twice(mongo)


@pytest.mark.parametrize(
    ("alarm", "message"), [("ledger_gap", None), ("malformed_event", b"{}")], ids=["a gap", "no first login"]
)
async def test_granter_halted(
    alarm: str, message: bytes | None, mongo: Client, broker: NatsClient, working: Working, follow: Follow
) -> None:
    await with_ten_judged(mongo, working)
    known = [entry.to_json() for entry in await ledger(mongo)]
    beyond = replace((await ledger(mongo))[0], n=15)
    await refill_by_hand(broker, [*known, message or beyond.to_json()])
    with capture_logs() as logs:
        async with working():
            await until_logged(logs, alarm)
            await follow("Granter halted")
            await more_people_win_nothing_twice(mongo)


async def test_oplog_history_lost(mongo: Client, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    await log_in_first(mongo, await add_users_after(mongo, 10))
    await mongo["identity"]["head"].update_one({}, {"$unset": {"start_at": "", "resume_token": ""}})
    with capture_logs() as logs:
        async with working():
            await until_logged(logs, "oplog_history_lost")
            await follow("Oplog history lost")
    assert [entry["appended"] for entry in logs if entry["event"] == "oplog_history_lost"] == [3]


async def test_something_else_wrote(mongo: Client, working: Working, settings: Settings, tmp_path: Path) -> None:
    campaign_id = await open_campaign(mongo, 5)
    [winner, *_] = users = await add_users(mongo, 3)
    vouchers = mongo["promotions"]["vouchers"]
    await vouchers.insert_one({"_id": winner, "campaign_id": campaign_id, "user_id": winner, "position": 1})
    with capture_logs() as logs:
        async with working():
            await log_in_first(mongo, users)
            await until_logged(logs, "invariant_broken")
            outcomes = [await run(command, settings, tmp_path) for command in commands("Something else wrote")]
            assert [code for code, _ in outcomes] == [0, 1]
            assert (tmp_path / "evidence" / "manifest.json").exists()
            await vouchers.delete_one({"_id": winner})  # as the text says, with a shell
            await until_judged(mongo, 3)
            await until(mongo, "vouchers", {}, 3)
            code, output = await run("earlybird audit", settings, tmp_path)
    assert (code, "Audit passed" in output) == (0, True), output


async def test_the_stream_is_not_reset_when_the_ledger_is_not_sound(
    mongo: Client, broker: NatsClient, working: Working, settings: Settings, tmp_path: Path
) -> None:
    await with_ten_judged(mongo, working)
    await mongo["identity"]["ledger"].delete_one({"_id": 4})
    code, output = await run("earlybird reset-stream", settings, tmp_path)
    assert (code, output) == (1, "earlybird: ledger: after 3 comes 5, not 4\n")
    assert await last_sequence(broker) == 10


def test_every_alarm_of_the_source_is_in_the_runbook() -> None:
    source = Path(sys.modules["earlybird"].__file__ or "").parent
    text = RUNBOOK.read_text()
    events = {
        event
        for file in source.rglob("*.py")
        for event in re.findall(r'log\.(?:error|warning)\(\s*"(\w+)"', file.read_text())
    }
    assert len(events) > 10
    assert [event for event in sorted(events) if f"`{event}`" not in text] == []


def test_every_link_within_the_runbook_leads_somewhere() -> None:
    text = RUNBOOK.read_text()
    titles = re.findall(r"^## (.*)", text, re.MULTILINE)
    headings = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= headings
