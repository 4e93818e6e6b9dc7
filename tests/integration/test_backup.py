"""Backup under load and restore into an empty deployment, as the runbook says; what is damaged is refused."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, running, until_judged, until_numbered
from redis.asyncio import Redis
from runbook import steps
from workers import workers

from deployments import Deployment
from earlybird.errors import Failure, Refusal, Unavailable
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import migrate_identity
from earlybird.identity.ledger import sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.infra.processes import cancel_until_done
from earlybird.operations.audit import Audit
from earlybird.operations.backup import restore, take_backup
from earlybird.promotions.redemptions.model import Order
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.settings import Settings

PEOPLE, LATECOMERS, VOUCHERS = 300, 10, 250
SNAPSHOT_TOO_OLD = 239


async def is_untouched(deployment: Deployment) -> bool:
    return not await deployment.mongo["identity"].list_collection_names()


def ignore(_: str, __: int) -> None:
    """Nobody watches."""


async def redeem_for_ever(mongo: Client) -> None:
    """Spend whatever voucher there is, until cancelled."""
    store = RedemptionStore(mongo["promotions"])
    while True:
        async for voucher in mongo["promotions"]["vouchers"].find({"is_available": 1}):
            with suppress(Refusal, Unavailable):
                order = Order("topup-1", 100_000, "VND")
                await store.spend(voucher["user_id"], str(voucher["_id"]), order, reserve=False)
        await asyncio.sleep(0)


async def ledger(mongo: Client) -> list[UUID]:
    return [entry["user_id"] async for entry in mongo["identity"]["ledger"].find().sort("_id", 1)]


async def put_back(empty: Deployment, folder: Path) -> None:
    await restore(empty.mongo, empty.broker.jetstream(), folder, ignore)


@pytest.mark.slow
async def test_a_backup_taken_under_load_is_whole_elsewhere(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, empty: Deployment, tmp_path: Path
) -> None:
    [taking, restoring, audit] = steps("Backup and restore")
    await open_campaign(mongo, VOUCHERS)
    users = await add_users(mongo, PEOPLE)
    async with workers(mongo, broker, valkey):
        load = [asyncio.create_task(log_in_first(mongo, users[:-LATECOMERS], at_once=1))]
        load.append(asyncio.create_task(redeem_for_ever(mongo)))
        await until_judged(mongo, 20)
        await taking.run(settings, tmp_path)
        await load[0]
        await log_in_first(mongo, users[-LATECOMERS:])  # after the moment of the backup for sure
        await until_judged(mongo, PEOPLE)
        await cancel_until_done(load)
    await restoring.run(empty.settings, tmp_path)
    async with workers(empty.mongo, empty.broker, empty.valkey):
        await audit.run(empty.settings, tmp_path)
        restored = await ledger(empty.mongo)
        assert 20 <= len(restored) <= PEOPLE - LATECOMERS
        assert restored == (await ledger(mongo))[: len(restored)]
        await log_in_first(empty.mongo, users)
        await until_judged(empty.mongo, PEOPLE)
        assert sorted(await ledger(empty.mongo)) == sorted(users)
        assert await empty.mongo["promotions"]["vouchers"].count_documents({}) == VOUCHERS
        await Audit(empty.mongo, empty.broker.jetstream()).run(lambda _: None)


async def test_whoever_had_no_number_yet_gets_one_even_if_a_relay_ran_while_restoring(
    mongo: Client, empty: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "_SAVE_TOKEN_SECONDS", 0.2)  # it would notice in 5 s
    users = await add_users(mongo, 3)
    await log_in_first(mongo, users)
    await take_backup(mongo, tmp_path / "backup", ignore)
    await migrate_identity(empty.settings)
    follower = sequencer.Sequencer(Ledger(empty.mongo["identity"]), asyncio.Event())
    async with running(follower):
        async with asyncio.timeout(30):
            while not follower.is_working:
                await asyncio.sleep(0.01)
        await put_back(empty, tmp_path / "backup")
        await until_numbered(empty.mongo, 3)
    assert sorted(await ledger(empty.mongo)) == sorted(users)


async def test_a_nats_that_outlived_the_database_is_refused_until_its_stream_may_go(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, empty: Deployment, tmp_path: Path
) -> None:
    await open_campaign(mongo, 8)
    users = await add_users(mongo, 12)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users[:6])
        await until_judged(mongo, 6)
        await take_backup(mongo, tmp_path / "backup-1", ignore)
        await log_in_first(mongo, users[6:])
        await until_judged(mongo, 12)
    survived = settings.model_copy(update={"mongodb_uri": empty.settings.mongodb_uri})
    [refused, restoring, audit] = steps("If NATS was not lost")
    await refused.run(survived, tmp_path)
    assert await is_untouched(empty)
    await restoring.run(survived, tmp_path)
    async with workers(empty.mongo, broker, empty.valkey):
        await audit.run(survived, tmp_path)
        assert await ledger(empty.mongo) == (await ledger(mongo))[:6]
        await log_in_first(empty.mongo, users[9:])
        await until_judged(empty.mongo, 9)
        assert await empty.mongo["promotions"]["vouchers"].count_documents({}) == 8
        await Audit(empty.mongo, broker.jetstream()).run(lambda _: None)


@pytest.fixture
async def backup(mongo: Client, tmp_path: Path) -> Path:
    """A backup of one who has logged in."""
    [user] = await add_users(mongo, 1)
    await UserStore(mongo["identity"]).mark_first_login(user)
    await take_backup(mongo, tmp_path / "backup", ignore)
    return tmp_path / "backup"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def alter(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)


def forget_the_last(file: Path) -> None:
    manifest = json.loads(file.read_text())
    manifest["collections"].pop()
    file.write_text(json.dumps(manifest))


def come_from_the_future(file: Path) -> None:
    file.write_text(file.read_text().replace("m002_ledger", "m999_ledger"))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("identity.users.bson", cut, "is not as it was written"),
        ("identity.users.bson", alter, "is not as it was written"),
        ("identity.users.bson", Path.unlink, "is missing"),
        ("manifest.json", cut, "is not what `earlybird backup` writes"),
        ("manifest.json", Path.unlink, "is no backup"),
        ("manifest.json", forget_the_last, "does not name identity.users.bson"),
        ("manifest.json", come_from_the_future, "newer version of earlybird, which has m999_ledger"),
    ],
)
async def test_a_damaged_or_newer_backup_is_refused_before_anything_is_written(
    name: str, damage: Callable[[Path], None], said: str, backup: Path, empty: Deployment
) -> None:
    damage(backup / name)
    with pytest.raises(Failure, match=said):
        await put_back(empty, backup)
    assert await is_untouched(empty)


@pytest.mark.parametrize("where", ["identity.users", "promotions.campaigns", "promotions.audit_log"])
async def test_a_deployment_with_anything_in_it_is_not_written_over(
    where: str, backup: Path, empty: Deployment
) -> None:
    database, name = where.split(".")
    await migrate_identity(empty.settings)
    await empty.mongo[database][name].insert_one({"_id": "mine"})
    with pytest.raises(Failure, match=f"not empty: there are {where}"):
        await put_back(empty, backup)
    assert await empty.mongo[database][name].distinct("_id") == ["mine"]
    assert await empty.mongo["identity"]["ledger"].count_documents({}) == 0


async def test_a_restored_head_is_never_there_with_its_place_in_the_old_oplog(
    mongo: Client, empty: Deployment, tmp_path: Path
) -> None:
    await Ledger(mongo["identity"]).append(0, [], resume_token={"_data": "00"})
    await take_backup(mongo, tmp_path / "backup", ignore)
    seen = []
    async with await empty.mongo["identity"].watch([{"$match": {"ns.coll": "head"}}]) as changes:
        await put_back(empty, tmp_path / "backup")
        while change := await changes.try_next():
            seen.append(set(change.get("fullDocument", {})))
    assert {"_id", "n"} in seen
    assert not any("resume_token" in fields for fields in seen)


async def test_a_backup_is_for_its_owner_alone_and_never_written_over(mongo: Client, backup: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in backup.iterdir()}
    assert (backup.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    with pytest.raises(Failure, match="is there already"):
        await take_backup(mongo, backup, ignore)


@pytest.mark.parametrize("command", ["find", "getMore"])
async def test_a_backup_that_took_too_long_says_so_and_leaves_nothing(
    command: str, mongo: Client, tmp_path: Path
) -> None:
    await add_users(mongo, 200)  # more than a first batch
    failure: dict[str, Any] = {"failCommands": [command], "errorCode": SNAPSHOT_TOO_OLD}
    await mongo.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": failure})
    with pytest.raises(Failure, match="longer than MongoDB keeps a moment"):
        await take_backup(mongo, tmp_path / "backup", ignore)
    assert list(tmp_path.iterdir()) == []


async def test_a_backup_that_cannot_be_written_says_so(mongo: Client, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="cannot be written: Not a directory"):
        await take_backup(mongo, tmp_path / "file" / "backup", ignore)
