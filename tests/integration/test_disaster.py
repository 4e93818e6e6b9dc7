"""Every procedure of docs/disaster.md, with the commands as they stand there, on real servers."""

import asyncio
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from front_door import Door, front_door, until_followed
from joserfc import jwt
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged, until_placed
from pydantic import SecretStr
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from runbook import DISASTER, RUNBOOK, Step, steps
from test_replicas import followers
from test_runbook import dump, ledger, put_back, refill_by_hand
from test_sessions import becomes, codes
from uuid_utils.compat import uuid7
from workers import workers

from deployments import Deployment
from earlybird.access.revocation_feed import open_bucket
from earlybird.errors import Failure, Unavailable
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import message_key, migrate_identity
from earlybird.identity.ledger.receipts import RECEIPT_TYPE, Receipts, signed
from earlybird.identity.ledger.store import Ledger
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.identity.throttle.model import FREE_FAILURES
from earlybird.infra.mongo import Client, connect_mongo, database_time
from earlybird.infra.nats import connect_nats
from earlybird.operations.audit import Audit
from earlybird.operations.backup import restore, take_backup
from earlybird.operations.recovery import Recovered, recover_first_logins
from earlybird.promotions.app import migrate_promotions
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.settings import Settings
from earlybird.stack.servers import Servers, running_servers

VOUCHERS = 8
SECRETS = "seal", "opening"


def procedure(section: str) -> list[Step]:
    return steps(section, DISASTER)


def ignore(_: str, __: int) -> None:
    """Nobody watches."""


async def judged(mongo: Client, users: list[UUID], n: int) -> None:
    """Log these in, one after another, until all n are judged."""
    await log_in_first(mongo, users, at_once=1)
    await until_judged(mongo, n)
    await until_placed(mongo, n)


async def keep_seal(mongo: Client, settings: Settings, file: Path) -> None:
    """Keep what GET /seals/latest says."""
    receipts = Receipts(Ledger(mongo["identity"]), KeyFolder.of(settings).seal_key(), "earlybird")
    latest = await receipts.latest()
    file.write_text(json.dumps({"n": latest.n, "jws": latest.jws, "key": receipts.public_key}))


async def keep_receipt(mongo: Client, settings: Settings, user: UUID, file: Path) -> None:
    """Keep what GET /place says of a person."""
    receipts = Receipts(Ledger(mongo["identity"]), KeyFolder.of(settings).seal_key(), "earlybird")
    receipt = await receipts.find(user)
    assert receipt is not None
    file.write_text(json.dumps({"place": {"receipt": {"jws": receipt.jws}}}))


async def winners(mongo: Client) -> list[tuple[UUID, UUID, int]]:
    found = mongo["promotions"]["vouchers"].find().sort("position", 1)
    return [(one["_id"], one["user_id"], one["position"]) async for one in found]


async def audited(mongo: Client, broker: NatsClient) -> None:
    await Audit(mongo, broker.jetstream()).run(lambda _: None)


@pytest.fixture
async def six_and_six(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> list[UUID]:
    """Six came before the backup, six after it, of whom the last two have made their accounts since."""
    await open_campaign(mongo, VOUCHERS)
    users = await add_users(mongo, 12)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[:6], 6)
        await take_backup(mongo, tmp_path / "backup-1", ignore)
        await keep_seal(mongo, settings, tmp_path / "seal-of-sunday.json")
        await judged(mongo, users[6:9], 9)
        new = await add_users(mongo, 2, first=12)
        await judged(mongo, [new[0], users[9], new[1]], 12)
        await keep_seal(mongo, settings, tmp_path / "seal-of-monday.json")
    return [*users[:9], new[0], users[9], new[1]]


async def test_the_whole_mongodb_is_lost_and_nats_has_every_first_login(
    mongo: Client,
    broker: NatsClient,
    settings: Settings,
    six_and_six: list[UUID],
    empty: Deployment,
    tmp_path: Path,
) -> None:
    before, won = await ledger(mongo), await winners(mongo)
    restored = settings.model_copy(update={"mongodb_uri": empty.settings.mongodb_uri})
    [restoring, recovering, audit, publish, verify, *_] = procedure("NATS is alive")
    for step in (restoring, recovering):
        await step.run(restored, tmp_path)
    async with workers(empty.mongo, broker, empty.valkey):
        await until_judged(empty.mongo, 12)
        await until_placed(empty.mongo, 12)
        for step in (audit, publish, verify):
            await step.run(restored, tmp_path)
        assert await ledger(empty.mongo) == before
        assert await winners(empty.mongo) == won
    assert [entry.user_id for entry in before] == six_and_six


async def test_a_scheduled_campaign_counts_what_came_back_and_a_voucher_without_account_goes_to_the_next(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, empty: Deployment, tmp_path: Path
) -> None:
    begins = datetime.now(UTC) + timedelta(seconds=1)
    scheduled = Campaign(uuid7(), "Launch", 30, 2, "30 % off", 30, None, begins, None)
    await CampaignStore(mongo["promotions"]).create(scheduled, "test")
    [known, *others] = await add_users(mongo, 4)
    await take_backup(mongo, tmp_path / "backup-1", ignore)
    while await database_time(mongo["identity"]) <= begins:
        await asyncio.sleep(0.05)
    [lost] = await add_users(mongo, 1, first=4)
    async with workers(mongo, broker, valkey):
        await judged(mongo, [known, lost, others[0]], 3)
    await restore(empty.mongo, broker.jetstream(), tmp_path / "backup-1", ignore, keep_stream=True)
    assert await recover_first_logins(empty.mongo, broker.jetstream(), "test") == Recovered(1, 3, 1)
    restored = settings.model_copy(update={"mongodb_uri": empty.settings.mongodb_uri})
    [*_, show, withdraw] = procedure("NATS is alive")
    async with workers(empty.mongo, broker, empty.valkey):
        await until_judged(empty.mongo, 3)
        assert f"\n2,lost:{lost},{lost}," in await show.run(restored, tmp_path)
        await withdraw.run(restored, tmp_path, str(lost))
        await until(empty.mongo, "vouchers", {"position": 3, "user_id": others[0]})
        await audited(empty.mongo, broker)
    [entry] = await empty.mongo["identity"]["audit_log"].find({"action": "account.lost"}).to_list()
    assert entry["subject"] == lost


@pytest.mark.slow
async def test_the_whole_mongodb_and_nats_are_lost_and_a_kept_seal_shows_it(
    mongo: Client, settings: Settings, six_and_six: list[UUID], empty: Deployment, tmp_path: Path
) -> None:
    [_, restoring, audit] = steps("Backup and restore")
    [publish, holds, differs] = procedure("NATS is lost too")
    await restoring.run(empty.settings, tmp_path)
    restored = empty.settings.model_copy(update={"signing_key_folder": settings.signing_key_folder})
    async with workers(empty.mongo, empty.broker, empty.valkey):
        await audit.run(restored, tmp_path)
        again = [user for user in reversed(six_and_six[6:]) if user not in {six_and_six[9], six_and_six[11]}]
        again += await add_users(empty.mongo, 2, first=12)  # who had registered since register again
        await judged(empty.mongo, again, 12)
        for step in (publish, holds, differs):
            await step.run(restored, tmp_path)
        await audited(empty.mongo, empty.broker)


@pytest.mark.slow
async def test_mongodb_is_restored_by_other_means_and_nats_has_every_first_login(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    await open_campaign(mongo, 5)
    users = await add_users(mongo, 13)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[:10], 10)
    await log_in_first(mongo, users[10:11])
    older = await dump(mongo)  # one has logged in and has no number
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[11:], 13)
    before = await ledger(mongo)
    await put_back(mongo, older)
    [migrate, recovering, audit] = procedure("MongoDB was restored by other means")
    await migrate.run(settings, tmp_path)
    await recovering.run(settings, tmp_path)
    async with workers(mongo, broker, valkey):
        await audit.run(settings, tmp_path)
        assert await ledger(mongo) == before
        await judged(mongo, await add_users(mongo, 2, first=13), 15)
        await audited(mongo, broker)


async def test_whoever_had_logged_in_and_was_in_no_stream_comes_after_what_was_recovered(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 4)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[:1], 1)
    older = await dump(mongo)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[1:3], 3)
    await put_back(mongo, older)
    await log_in_first(mongo, users[3:])  # committed, and never numbered
    assert await recover_first_logins(mongo, broker.jetstream(), "test") == Recovered(2, 3, 0)
    assert await recover_first_logins(mongo, broker.jetstream(), "test") == Recovered(4, 3, 0)
    async with workers(mongo, broker, valkey):
        await until_judged(mongo, 4)
        await audited(mongo, broker)
    assert [entry.user_id for entry in await ledger(mongo)] == users


@pytest.mark.parametrize(
    ("mischief", "said"),
    [
        ("another order", "message 2 is not entry 2"),
        ("another date", "dated otherwise"),
        ("a hole", "message 4 is entry 5 of the ledger"),
        ("somebody twice", "has a number beyond 2 there"),
        ("nobody known", "no account of anybody"),
    ],
)
async def test_a_stream_that_is_not_of_this_ledger_is_refused_before_anything_is_written(
    mischief: str, said: str, mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    users = await add_users(mongo, 5)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[:2], 2)
    older = await dump(mongo)
    async with workers(mongo, broker, valkey):
        await judged(mongo, users[2:], 5)
    entries = await ledger(mongo)
    await put_back(mongo, older)
    match mischief:
        case "another order":
            entries[0], entries[1] = replace(entries[1], n=1), replace(entries[0], n=2)
        case "another date":
            await mongo["identity"]["users"].update_one(
                {"_id": users[3]}, {"$set": {"is_first_login": 0, "first_login_at": entries[0].first_login_at}}
            )
        case "a hole":
            entries[3] = replace(entries[4])
        case "somebody twice":
            entries[4] = replace(entries[0], n=5)
        case "nobody known":
            for name in ("users", "ledger"):
                await mongo["identity"][name].delete_many({})
            await mongo["identity"]["head"].update_one({"_id": "head"}, {"$set": {"n": 0}})
    await refill_by_hand(broker, [entry.to_json() for entry in entries])
    stored = await dump(mongo)
    with pytest.raises(Failure, match=said):
        await recover_first_logins(mongo, broker.jetstream(), "test")
    assert await dump(mongo) == stored


async def keep(door: Door, path: str, file: Path, token: str = "") -> None:
    """Keep what a route answers."""
    answer = await (door.ask(path, token) if token else door.http.get(path))
    assert answer.status_code == 200
    file.write_text(answer.text)


async def one_has_won(door: Door, mongo: Client) -> str:
    """Let somebody register, log in and win; return the token."""
    await open_campaign(mongo, VOUCHERS)
    token = await door.token(await door.register(1))
    await until_judged(mongo, 1)
    await until_placed(mongo, 1)
    return token


async def test_the_keys_are_lost(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    keys = settings.signing_key_folder
    [put_copy_back, publish, verify] = procedure("The keys are lost")
    async with workers(mongo, broker, valkey):
        async with front_door(settings, tmp_path) as door:
            token = await one_has_won(door, mongo)
            voucher = (await door.ask("/voucher", token)).json()
            await keep(door, "/place", tmp_path / "my-place.json", token)
            await keep(door, "/seals/latest", tmp_path / "seal-of-monday.json")
            shutil.copytree(keys, tmp_path / "keys-copy")
            shutil.rmtree(keys)
            await until_said(door, "signing_keys_unreadable")
            assert await codes(door, await door.token("person-1")) == {"success"}
            await put_copy_back.run(settings, tmp_path)
            assert await codes(door, token) == {"success"}
            shutil.rmtree(keys)
        async with front_door(settings, tmp_path) as door:
            assert await codes(door, token) == {"invalid_token"}
            again = await door.token("person-1")
            assert (await door.ask("/voucher", again)).json() == voucher
            await keep(door, "/seals/latest", tmp_path / "seal-of-today.json")
            for step in (publish, verify):
                await step.run(settings, tmp_path)


async def until_said(door: Door, event: str) -> None:
    """Wait until the services log this, while people log in."""
    assert door.process.stdout is not None
    async with asyncio.timeout(20):
        while event.encode() not in await door.process.stdout.readline():
            await door.log_in("person-1")


def forged_token(settings: Settings, user_id: UUID) -> str:
    """Return what a thief makes of the signing key: a token for ten years."""
    [key] = KeyFolder.of(settings).public_keys().values()
    now = int(time.time())
    claims = {"iss": "earlybird", "aud": "earlybird", "sub": str(user_id), "iat": now, "exp": now + 315_360_000}
    claims |= {"jti": "forged", "epoch": 0, "roles": ["customer"]}
    return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, claims, key, ["RS256"])


async def test_a_key_is_stolen(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    keys = KeyFolder.of(settings)
    [old] = keys.public_keys()
    [listing, rotate, retire] = procedure("A key is stolen")
    [publish, *remove, verify] = procedure("The whole folder was stolen")
    soon = {"EARLYBIRD_JWKS_COOLDOWN_SECONDS": "1"}
    async with workers(mongo, broker, valkey), front_door(settings, tmp_path, **soon) as door:
        token = await one_has_won(door, mongo)
        [user] = await mongo["identity"]["users"].find().to_list()
        forged = forged_token(settings, user["_id"])
        assert await codes(door, forged) == {"success"}
        await keep(door, "/seals/latest", tmp_path / "seal-of-monday.json")
        assert old[:12] in await listing.run(settings, tmp_path)
        await rotate.run(settings, tmp_path)
        await retire.run(settings, tmp_path, old[:12])
        for known in (forged, token):
            await becomes(partial(codes, door, known), {"invalid_token"}, within_seconds=10)
        await becomes(partial(codes, door, await door.token("person-1")), {"success"}, within_seconds=10)
        await publish.run(settings, tmp_path)
        claims = {"n": 1, "at": "2026-11-27T09:00:00Z", "sub": str(uuid7()), **dict.fromkeys(SECRETS, "00" * 32)}
        (tmp_path / "forged.json").write_text(signed(keys.seal_key(), RECEIPT_TYPE, claims))
        stolen = keys.seal_key().thumbprint(), keys.device_secret(), keys.code_secret(), message_key(settings)
        for step in (*remove, verify):
            await step.run(settings, tmp_path)
    keys = KeyFolder.of(settings)  # as at a restart
    made = keys.seal_key().thumbprint(), keys.device_secret(), keys.code_secret(), message_key(settings)
    assert not set(made) & set(stolen)


@pytest.mark.slow
async def test_a_key_is_stolen_while_a_rotation_is_under_way(
    broker: NatsClient, settings: Settings, tmp_path: Path
) -> None:
    keys = KeyFolder.of(settings)
    [stolen] = keys.public_keys()
    following = keys.rotate(600).kid
    [refused, retire, rotate] = procedure("A rotation was under way")
    await refused.run(settings, tmp_path)
    await retire.run(settings, tmp_path, following)
    await rotate.run(settings, tmp_path)
    [*_, retire] = procedure("A key is stolen")
    await retire.run(settings, tmp_path, stolen)
    left = KeyFolder.of(settings)
    assert set(left.public_keys()) == {left.signing_key().kid}
    assert not {stolen, following} & set(left.public_keys())


async def test_all_of_valkey_is_lost(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, servers: Servers, tmp_path: Path
) -> None:
    [audit] = procedure("All of Valkey")
    async with workers(mongo, broker, valkey), front_door(settings, tmp_path) as door:
        token = await one_has_won(door, mongo)
        voucher = (await door.ask("/voucher", token)).json()
        guesses = [(await door.log_in("person-1", "wrong")).status_code for _ in range(FREE_FAILURES + 1)]
        assert guesses[-1] == 429
        await servers.process("valkey").kill()
        assert (await door.ask("/voucher", token)).json() == voucher
        assert (await door.ask("/sessions", token)).status_code == 503
        await servers.process("valkey").start()
        await becomes(partial(listed, door, token), 0, within_seconds=10)
        second = await door.token("person-1")  # the guesses are forgotten
        assert await listed(door, second) == 1
        for known in (token, second):
            assert (await door.ask("/voucher", known)).json() == voucher
        await audit.run(settings, tmp_path)


async def listed(door: Door, token: str) -> int:
    """Return how many sessions are listed."""
    return len((await door.ask("/sessions", token)).json().get("sessions", ["unavailable"]))


@pytest.mark.slow
async def test_all_of_nats_is_lost(
    mongo: Client, broker: NatsClient, valkey: Redis, settings: Settings, servers: Servers, tmp_path: Path
) -> None:
    [audit] = procedure("All of NATS")
    nats = servers.process("nats-1")
    async with workers(mongo, broker, valkey), front_door(settings, tmp_path) as door:
        ended = await one_has_won(door, mongo)
        await door.ask("/logout", ended, "POST")
        await becomes(partial(codes, door, ended), {"invalid_token"})
        await nats.kill()
        second = await door.token(await door.register(2))  # has a place, and waits for the number
        shutil.rmtree(Path(nats.program.command[-1]).with_name("nats-1") / "jetstream")
        await nats.start()
        await until_judged(mongo, 2)
        await until_followed(door.http, door.ports)
        await becomes(partial(codes, door, ended), {"invalid_token"}, within_seconds=10)
        assert await codes(door, second) == {"success"}
        await audit.run(settings, tmp_path)
        bucket = await open_bucket(broker.jetstream(), 1)
        assert "session" in {key.partition(".")[0] for key in await bucket.keys()}, "it is put back, for all"


@pytest.fixture(scope="module")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Three mongod and three nats-server, which get lost."""
    async with running_servers(tmp_path_factory.mktemp("three") / "data", members=3) as servers:
        yield servers


@pytest.fixture
async def of_three(three: Servers, settings: Settings) -> Settings:
    """Settings of the three, with nothing in MongoDB but the schema."""
    urls = {"mongodb_uri": SecretStr(three.mongodb_uri), "nats_url": SecretStr(three.nats_url)}
    found = settings.model_copy(update={**urls, "stream_replicas": 3})
    async with connect_mongo(found, "test") as client:
        for database in ("identity", "promotions"):
            await client.drop_database(database)
    await migrate_identity(found)
    await migrate_promotions(found)
    return found


async def until_logged_in(mongo: Client, user: UUID) -> float:
    """Try until the first login is acknowledged; return the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while True:
            with suppress(Unavailable, PyMongoError):
                await UserStore(mongo["identity"]).mark_first_login(user)
                return time.monotonic() - began
            await asyncio.sleep(0.05)


def folder_of(servers: Servers, name: str) -> Path:
    """Return where a server keeps what it stores."""
    if name.startswith("nats"):
        return Path(servers.process(name).program.command[-1]).with_name(name) / "jetstream"
    command = servers.process(name).program.command
    return Path(command[command.index("--dbpath") + 1])


async def lose(servers: Servers, name: str) -> None:
    """Kill a server, and empty its disk."""
    await servers.process(name).kill()
    for path in folder_of(servers, name).iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def primary_of(servers: Servers, mongo: Client) -> str:
    await mongo.admin.command("ping")
    primary = await mongo.primary
    assert primary is not None
    return next(one.name for one in servers.kind("mongod") if one.program.port == primary[1])


@pytest.mark.slow
async def test_one_member_is_lost(three: Servers, of_three: Settings, valkey: Redis, tmp_path: Path) -> None:
    [audit] = procedure("One member")
    async with (
        connect_mongo(of_three, "test") as mongo,
        connect_nats(of_three, "test") as broker,
        workers(mongo, broker, valkey, replicas=3),
    ):
        await open_campaign(mongo, VOUCHERS)
        users = await add_users(mongo, 6)
        await judged(mongo, users[:3], 3)
        primary, [follower, _] = await primary_of(three, mongo), await followers(broker.jetstream())
        for name in (primary, follower):
            await lose(three, name)
        await until_logged_in(mongo, users[3])
        await judged(mongo, users[4:], 6)
        for name in (primary, follower):
            await three.process(name).start()
        await followers(broker.jetstream())
        await audit.run(of_three, tmp_path)


async def force_itself(servers: Servers, survivor: str, step: Step) -> None:
    """Do in the survivor what the page has one type into its shell."""
    assert step.command.splitlines() == [
        "cfg = rs.conf()",
        'cfg.members = cfg.members.filter(member => member.host == "db3:27017")',
        "rs.reconfig(cfg, {force: true})",
    ]
    host = f"127.0.0.1:{servers.process(survivor).program.port}"
    async with servers.mongod_client(survivor) as member:
        found: Any = (await member.admin.command("replSetGetConfig"))["config"]
        found["members"] = [one for one in found["members"] if one["host"] == host]
        await member.admin.command("replSetReconfig", found, force=True)


@pytest.mark.slow
async def test_the_data_centre_with_the_majority_is_lost_and_nats_is_elsewhere(
    three: Servers,
    of_three: Settings,
    settings: Settings,
    mongo: Client,
    broker: NatsClient,
    valkey: Redis,
    tmp_path: Path,
) -> None:
    [force, recovering, audit] = procedure("The side with the majority is lost")
    left = of_three.model_copy(update={"nats_url": settings.nats_url})
    async with connect_mongo(left.model_copy(update={"mongodb_timeout_seconds": 2}), "test") as client:
        await open_campaign(client, VOUCHERS)
        users = await add_users(client, 6)
        async with workers(client, broker, valkey):
            await judged(client, users[:3], 3)
            primary = await primary_of(three, client)
            survivor, other = (one.name for one in three.kind("mongod") if one.name != primary)
            await three.process(survivor).stop()  # and so it lacks what a majority acknowledges now
            await judged(client, users[3:5], 5)
        before = await ledger(client)
        for name in (primary, other):
            await three.process(name).kill()
        await three.process(survivor).start()
        with pytest.raises(Unavailable):
            await UserStore(client["identity"]).mark_first_login(users[5])
        await force_itself(three, survivor, force)
        await until_logged_in(client, users[0])  # who did before: it changes nothing
        await recovering.run(left, tmp_path)
        async with workers(client, broker, valkey):
            await audit.run(left, tmp_path)
            assert await ledger(client) == before
            await judged(client, users[5:], 6)


def test_every_procedure_of_the_page_is_run_here() -> None:
    page, here = DISASTER.read_text(), Path(__file__).read_text()
    headings = [part.partition("\n")[0] for part in re.split(r"^##+ ", page, flags=re.MULTILINE)[1:]]
    with_commands = {heading for heading in headings if steps(heading, DISASTER)}
    assert len(with_commands) > 8
    assert with_commands == set(re.findall(r'procedure\(\s*"([^"]+)"', here))


def test_every_link_of_the_page_leads_somewhere() -> None:
    page, runbook = DISASTER.read_text(), RUNBOOK.read_text()
    for target, text in (("", page), ("runbook.md", runbook)):
        anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^##+ (.*)", text, re.MULTILINE)}
        assert set(re.findall(rf"\]\({target}#([a-z-]+)\)", page)) <= anchors
    anchors = {title.lower().replace(" ", "-") for title in re.findall(r"^##+ (.*)", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(disaster.md#([a-z-]+)\)", runbook)) <= anchors
