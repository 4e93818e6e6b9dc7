"""Each service may do at the servers what it needs, and no more; a stranger may do nothing."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
import redis.asyncio
from nats.aio.client import Client as NatsClient
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from redis.exceptions import AuthenticationError, NoPermissionError

from earlybird.access.revocation_feed import BUCKET
from earlybird.events import STREAM, SUBJECT, VOUCHER_STREAM
from earlybird.infra.mongo import Client
from earlybird.stack.permissions import USERS, Secrets, write_private
from earlybird.stack.servers import Servers

UNAUTHORIZED = 13
SERVICES = [user for user in USERS if user != "operator"]
AT_NATS = [user for user in SERVICES if user != "courier"]  # who is no user of NATS and Valkey


@asynccontextmanager
async def connected(servers: Servers, user: str) -> AsyncIterator[Client]:
    async with AsyncMongoClient[dict[str, Any]](servers.mongodb_uri_of(user)) as client:
        yield client


async def is_refused(what: Awaitable[object]) -> bool:
    try:
        await what
    except OperationFailure as error:
        return error.code == UNAUTHORIZED
    return False


DOES: dict[str, Callable[[Client], Awaitable[object]]] = {
    "read users": lambda client: client["identity"]["users"].find_one({}),
    "change users": lambda client: client["identity"]["users"].update_one({"_id": 0}, {"$set": {"a": 1}}),
    "remove users": lambda client: client["identity"]["users"].delete_one({"_id": 0}),
    "read messages": lambda client: client["identity"]["message_outbox"].find_one({}),
    "write messages": lambda client: client["identity"]["message_outbox"].insert_one({"sealed": b""}),
    "read codes": lambda client: client["identity"]["contact_codes"].find_one({}),
    "read the ledger": lambda client: client["identity"]["ledger"].find_one({}),
    "change the ledger": lambda client: client["identity"]["ledger"].update_one({"_id": 0}, {"$set": {"a": 1}}),
    "read vouchers": lambda client: client["promotions"]["vouchers"].find_one({}),
    "read webhooks": lambda client: client["promotions"]["webhook_endpoints"].find_one({}),
    "make a webhook": lambda client: client["promotions"]["webhook_endpoints"].insert_one({}),
    "read redemptions": lambda client: client["promotions"]["redemptions"].find_one({}),
    "change identity's log": lambda client: client["identity"]["audit_log"].update_one({}, {"$set": {"a": 1}}),
    "cut identity's log": lambda client: client["identity"]["audit_log"].delete_one({}),
    "change promotions' log": lambda client: client["promotions"]["audit_log"].update_one({}, {"$set": {"a": 1}}),
    "cut promotions' log": lambda client: client["promotions"]["audit_log"].delete_one({}),
    "drop a collection": lambda client: client["promotions"]["vouchers"].drop(),
    "make an index": lambda client: client["identity"]["users"].create_index("a"),
    "make a user": lambda client: client["admin"].command("createUser", "x", pwd="x", roles=["root"]),
}
MAY = {
    "identity": {
        *("read users", "change users", "read the ledger"),
        *("read messages", "read codes", "write messages"),
    },
    "relay": {"read users", "read the ledger", "change the ledger"},  # entries without a seal get theirs
    "promotions": {"read vouchers", "read redemptions", "read webhooks", "make a webhook"},
    "granter": {"read vouchers"},
    "courier": {"read messages"},
    "webhooks": {"read webhooks"},
}


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_reaches_its_own_data_alone(servers: Servers, mongo: Client, user: str) -> None:
    async with connected(servers, user) as client:
        assert {name for name, does in DOES.items() if not await is_refused(does(client))} == MAY[user]


async def test_a_stranger_reaches_nothing(servers: Servers, mongo: Client) -> None:
    address = servers.mongodb_uri.partition("@")[2].partition("/")[0]
    async with AsyncMongoClient[dict[str, Any]](f"mongodb://{address}/?directConnection=true") as client:
        assert await is_refused(client["identity"]["users"].find_one({}))
    url = servers.nats_url.partition("@")[2]
    stranger = NatsClient()
    with pytest.raises((nats.errors.Error, OSError)):
        await stranger.connect(f"nats://{url}", allow_reconnect=False, max_reconnect_attempts=0)
    await stranger.close()
    async with redis.asyncio.Redis.from_url(f"redis://{servers.valkey_url.partition('@')[2]}") as valkey:
        with pytest.raises(AuthenticationError):
            await valkey.get("voucher:x")


WRITES = {
    SUBJECT: "relay",
    "earlybird.promotions.voucher.granted.v1": "granter",
    f"$KV.{BUCKET}.session.x": "identity",
    f"$JS.API.STREAM.DELETE.{STREAM}": "relay",
    f"$JS.API.STREAM.PURGE.{VOUCHER_STREAM}": "granter",
    f"$JS.API.STREAM.UPDATE.KV_{BUCKET}": "identity",
}


@pytest.mark.parametrize("user", AT_NATS)
async def test_a_service_publishes_to_its_own_subjects_alone(servers: Servers, user: str) -> None:
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error).lower())

    client = await nats.connect(servers.nats_url_of(user).split(","), error_cb=note)
    try:
        for subject in WRITES:
            await client.publish(subject, b"")
        others = {subject for subject, owner in WRITES.items() if owner != user}
        await client.flush()
        async with asyncio.timeout(5):
            while len(refused) < len(others):
                await asyncio.sleep(0.01)
    finally:
        await client.close()
    assert {subject for subject in WRITES if any(subject.lower() in error for error in refused)} == others


@pytest.mark.parametrize(
    ("user", "key"), [("identity", "voucher:x"), ("promotions", "guesses:x"), ("relay", "voucher:x")]
)
async def test_a_service_touches_its_own_keys_alone(servers: Servers, user: str, key: str) -> None:
    async with redis.asyncio.Redis.from_url(servers.valkey_url_of(user)) as valkey:
        with pytest.raises(NoPermissionError):
            await valkey.get(key)
        with pytest.raises(NoPermissionError):
            await valkey.flushall()


async def test_the_courier_gets_into_neither_nats_nor_valkey(servers: Servers) -> None:
    stranger = NatsClient()
    with pytest.raises((nats.errors.Error, OSError)):
        await stranger.connect(servers.nats_url_of("courier"), allow_reconnect=False, max_reconnect_attempts=0)
    await stranger.close()
    async with redis.asyncio.Redis.from_url(servers.valkey_url_of("courier")) as valkey:
        with pytest.raises(AuthenticationError):
            await valkey.get("voucher:x")


def test_a_folder_of_an_earlier_version_gets_the_passwords_that_are_new(tmp_path: Path) -> None:
    before = Secrets(tmp_path).login("identity")
    known = json.loads((tmp_path / "secrets.json").read_text())
    write_private(tmp_path / "secrets.json", json.dumps({n: w for n, w in known.items() if n != "courier"}))
    after, again = Secrets(tmp_path), Secrets(tmp_path)
    assert after.login("identity") == before
    assert after.login("courier") == again.login("courier")


def test_the_passwords_are_made_once_and_are_private(tmp_path: Path) -> None:
    first, again = Secrets(tmp_path), Secrets(tmp_path)
    assert [first.login(user) for user in USERS] == [again.login(user) for user in USERS]
    assert len({first.login(user).partition(":")[2] for user in USERS}) == len(USERS)
    first.key_file()
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
