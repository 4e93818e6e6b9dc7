"""Every procedure of docs/runbook.md, with the commands as they stand there, on what they are for."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, running, until_judged, until_logged
from redis.asyncio import Redis
from runbook import RUNBOOK, UUIDS, run, steps
from structlog.testing import capture_logs
from workers import workers

from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity.ledger import relay, sequencer
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit
from earlybird.settings import Settings

Working = Callable[[], AbstractAsyncContextManager[None]]
Follow = Callable[[str], Awaitable[None]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets workers wait less before they look again: seconds in operation, which tests would add up."""
    monkeypatch.setattr(relay, "_BACK_OFF_SECONDS", 0.02)
    monkeypatch.setattr(sequencer, "_SAVE_TOKEN_SECONDS", 0.2)


@pytest.fixture
def follow(settings: Settings, tmp_path: Path) -> Follow:
    """Takes the steps of a section, one after another."""

    async def follow(section: str) -> None:
        for step in steps(section):
            await step.run(settings, tmp_path)

    return follow


@pytest.fixture
def working(mongo: Client, broker: NatsClient, valkey: Redis) -> Working:
    """Runs the workers for the length of a block."""
    return lambda: workers(mongo, broker, valkey)


@pytest.fixture
def relaying(mongo: Client, broker: NatsClient) -> Working:
    """Runs sequencer and relay alone for the length of a block."""
    ledger, appended = Ledger(mongo["identity"]), asyncio.Event()
    return lambda: running(Sequencer(ledger, appended), Relay(ledger, broker.jetstream(), 1, appended))


async def with_ten_judged(mongo: Client, working: Working) -> None:
    await open_campaign(mongo, 5)
    async with working():
        await log_in_first(mongo, await add_users(mongo, 10))
        await until_judged(mongo, 10)


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


async def test_the_first_look_shows_what_the_runbook_shows(
    mongo: Client, working: Working, follow: Follow
) -> None:
    await with_ten_judged(mongo, working)
    await follow("First look")


async def test_stream_behind(mongo: Client, broker: NatsClient, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    await refill_by_hand(broker, [entry.to_json() for entry in (await ledger(mongo))[:4]])
    async with working():
        await follow("Stream behind")
    assert await last_sequence(broker) == 10


async def test_stream_not_of_this_ledger(
    mongo: Client, broker: NatsClient, relaying: Working, working: Working, settings: Settings, tmp_path: Path
) -> None:
    await with_ten_judged(mongo, working)
    shifted = [replace(entry, n=entry.n + 4) for entry in await ledger(mongo)]
    await refill_by_hand(broker, [entry.to_json() for entry in shifted])
    [reset, audit] = steps("Stream not of this ledger")
    with capture_logs() as logs:
        async with relaying():
            await until_logged(logs, "stream_ahead")
            await reset.run(settings, tmp_path)
        async with working():
            await audit.run(settings, tmp_path)
            await more_people_win_nothing_twice(mongo)


async def test_ledger_gap(mongo: Client, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    before = await ledger(mongo)
    await mongo["identity"]["ledger"].delete_many({"_id": {"$in": [1, 2, 6]}})
    await follow("Ledger gap")
    assert await ledger(mongo) == before
    async with working():
        await more_people_win_nothing_twice(mongo)


async def test_judged_beyond_the_ledger(
    mongo: Client, broker: NatsClient, working: Working, follow: Follow, tmp_path: Path
) -> None:
    await with_ten_judged(mongo, working)
    known = await ledger(mongo)
    forged = [replace(entry, n=entry.n + 10) for entry in known[:4]]
    await refill_by_hand(broker, [entry.to_json() for entry in (*known, *forged)])
    async with working():
        await until_judged(mongo, 14)
    await follow("Judged beyond the ledger")
    assert (tmp_path / "evidence" / "manifest.json").exists()
    assert await last_sequence(broker) == 14


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


async def test_first_login_without_a_number(mongo: Client, working: Working, follow: Follow) -> None:
    await with_ten_judged(mongo, working)
    async with working():
        await add_users_after(mongo, 10)
        users = mongo["identity"]["users"]
        async for user in users.find({"is_first_login": 1}):
            await users.replace_one(
                {"_id": user["_id"]}, user | {"is_first_login": 0, "first_login_at": user["created_at"]}
            )
        await follow("First login without a number")
    assert len(await ledger(mongo)) == 13


async def test_something_else_wrote(mongo: Client, working: Working, settings: Settings, tmp_path: Path) -> None:
    campaign_id = await open_campaign(mongo, 5)
    [winner, *_] = users = await add_users(mongo, 3)
    vouchers = mongo["promotions"]["vouchers"]
    await vouchers.insert_one({"_id": winner, "campaign_id": campaign_id, "user_id": winner, "position": 1})
    [evidence, audit, remove, audit_again] = steps("Something else wrote")
    with capture_logs() as logs:
        async with working():
            await log_in_first(mongo, users)
            await until_logged(logs, "invariant_broken")
            await evidence.run(settings, tmp_path)
            [voucher] = re.findall(UUIDS, await audit.run(settings, tmp_path))
            await remove.run(settings, tmp_path, voucher)
            await audit_again.run(settings, tmp_path)
    assert (tmp_path / "evidence" / "manifest.json").exists()
    assert UUID(voucher) == winner
    assert await vouchers.count_documents({}) == 3


async def test_mongodb_restored_by_other_means(
    mongo: Client, broker: NatsClient, relaying: Working, working: Working, settings: Settings, tmp_path: Path
) -> None:
    await with_ten_judged(mongo, working)
    late = await add_users_after(mongo, 10)
    await log_in_first(mongo, late[:1])
    older = await dump(mongo)  # one has logged in and has no number
    async with working():
        await log_in_first(mongo, late[1:])
        await until_judged(mongo, 13)
    await put_back(mongo, older)
    [migrate, look_through_all, reset, audit] = steps("If MongoDB was restored by other means")
    await migrate.run(settings, tmp_path)
    await look_through_all.run(settings, tmp_path)
    async with relaying():
        await reset.run(settings, tmp_path)
    async with working():
        await audit.run(settings, tmp_path)
        await log_in_first(mongo, late)
        await until_judged(mongo, 13)
        await Audit(mongo, broker.jetstream()).run(lambda _: None)
    assert [entry.user_id for entry in await ledger(mongo)][10] == late[0]


Dump = list[tuple[str, str, list[dict[str, Any]]]]


async def dump(mongo: Client) -> Dump:
    """Copy both databases, as a tool of MongoDB's own would."""
    return [
        (database, name, await mongo[database][name].find().to_list())
        for database in ("identity", "promotions")
        for name in await mongo[database].list_collection_names()
    ]


async def put_back(mongo: Client, dump: Dump) -> None:
    for database, name, documents in dump:
        await mongo[database][name].delete_many({})
        if documents:
            await mongo[database][name].insert_many(documents)


async def test_the_stream_is_not_reset_when_the_ledger_is_not_sound(
    mongo: Client, broker: NatsClient, working: Working, settings: Settings, tmp_path: Path
) -> None:
    await with_ten_judged(mongo, working)
    await mongo["identity"]["ledger"].delete_one({"_id": 4})
    code, output = await run("earlybird reset-stream", settings, tmp_path)
    assert (code, output) == (1, "earlybird: ledger: after 3 comes 5, not 4\n")
    assert await last_sequence(broker) == 10


def test_whatever_the_audit_finds_is_in_the_first_look() -> None:
    source = Path(sys.modules["earlybird"].__file__ or "").parent / "operations" / "audit"
    text = RUNBOOK.read_text().partition("## First look")[2].partition("\n## ")[0]
    subjects = {
        subject
        for file in source.glob("*.py")
        for subject in re.findall(r'Difference\(\s*f?"(\w+)', file.read_text())
    }
    assert len(subjects) > 5
    assert [subject for subject in sorted(subjects) if not re.search(rf"`{subject}\b", text)] == []


_ALARM = r'(?:log\.(?:error|warning)\(|interruptions\(|Answer\((?="\w+", "(?:error|warning)"))\s*"(\w+)"'


def test_every_alarm_of_the_source_is_in_the_runbook() -> None:
    source = Path(sys.modules["earlybird"].__file__ or "").parent
    text = RUNBOOK.read_text()
    events = {event for file in source.rglob("*.py") for event in re.findall(_ALARM, file.read_text())}
    assert len(events) > 15
    assert [event for event in sorted(events) if f"`{event}`" not in text] == []


def test_every_link_within_the_runbook_leads_somewhere() -> None:
    text = RUNBOOK.read_text()
    titles = re.findall(r"^## (.*)", text, re.MULTILINE)
    headings = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", text)) <= headings
