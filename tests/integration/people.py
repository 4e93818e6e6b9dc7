"""Invented people, and short cuts to log many of them in for the first time."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pymongo
from nats.aio.client import Client as NatsClient
from uuid_utils.compat import uuid7

from earlybird.events import VOUCHER_STREAM
from earlybird.identity.accounts.store import UserStore
from earlybird.infra.mongo import Client, Document
from earlybird.infra.processes import Role, RoleGroup
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.vouchers.model import Voucher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def registration(i: int, **changes: object) -> dict[str, object]:
    """Give the body of a registration, different for every `i`."""
    return {
        "username": f"person-{i}",
        "email": f"person-{i}@example.com",
        "phone": f"+84912{i:06}",
        "password": "correct horse battery",
        "full_name": f"Person {i}",
        "birthday": "1990-12-10",
    } | changes


async def add_users(client: Client, count: int, first: int = 0) -> list[UUID]:
    """Put accounts into the database without hashing, numbered from `first` on; give their ids."""
    now = datetime.now(UTC)
    users: list[Document] = [
        {
            "_id": uuid7(),
            "username": f"user-{i}",
            "email": f"user-{i}@example.com",
            "phone": f"+8490{i:07}",
            "password": "",
            "full_name": f"User {i}",
            "birthday": now,
            "is_active": 1,
            "is_first_login": 1,
            "roles": ["customer"],
            "created_at": now,
            "updated_at": now,
        }
        for i in range(first, first + count)
    ]
    await client["identity"]["users"].insert_many(users)
    return [user["_id"] for user in users]


async def log_in_first(client: Client, user_ids: Sequence[UUID], *, at_once: int = 32) -> None:
    """Commit the first login of each, many at once, through the production code."""
    store, slots = UserStore(client["identity"]), asyncio.Semaphore(at_once)

    async def one(user_id: UUID) -> None:
        async with slots:
            await store.mark_first_login(user_id)

    await asyncio.gather(*(one(user_id) for user_id in user_ids))


async def commit_order(client: Client) -> list[UUID]:
    """Read the order of first logins from MongoDB's own oplog, the truth that the ledger must repeat."""
    oplog = client["local"].get_collection("oplog.rs")
    found = oplog.find({"ns": "identity.users", "op": "u"}).sort("$natural", pymongo.ASCENDING)
    return [entry["o2"]["_id"] async for entry in found if "first_login_at" in str(entry["o"])]


async def until_numbered(client: Client, n: int) -> None:
    """Wait until the ledger has its n-th entry."""
    async with asyncio.timeout(30):
        while await client["identity"]["ledger"].find_one({"_id": n}) is None:
            await asyncio.sleep(0.01)


async def until(client: Client, collection: str, query: Document, count: int = 1) -> None:
    """Wait until promotions has so many such documents."""
    async with asyncio.timeout(30):
        while await client["promotions"][collection].count_documents(query) < count:
            await asyncio.sleep(0.02)


async def until_judged(client: Client, n: int) -> None:
    """Wait until the granter's cursor has reached n."""
    async with asyncio.timeout(30):
        while (await client["promotions"]["cursor"].find_one({}) or {"n": 0})["n"] < n:
            await asyncio.sleep(0.01)


async def until_placed(client: Client, n: int) -> None:
    """Wait until the placer's cursor has reached n."""
    await until(client, "places", {"_id": "cursor", "n": {"$gte": n}})


async def until_told(client: Client) -> None:
    """Wait until the stream has every event of the outbox."""
    async with asyncio.timeout(30):
        while await client["promotions"]["outbox"].find_one({}):
            await asyncio.sleep(0.01)


async def until_logged(logs: Sequence[Mapping[str, Any]], event: str) -> None:
    """Wait until a log line has this event."""
    async with asyncio.timeout(30):
        while event not in {entry["event"] for entry in logs}:
            await asyncio.sleep(0.02)


async def told(broker: NatsClient) -> list[dict[str, Any]]:
    """Read the whole stream of voucher events."""
    jetstream = broker.jetstream()
    last = (await jetstream.stream_info(VOUCHER_STREAM)).state.last_seq
    messages = [await jetstream.get_msg(VOUCHER_STREAM, sequence) for sequence in range(1, last + 1)]
    assert all(json.loads(message.data or b"")["type"] == message.subject for message in messages)
    return [json.loads(message.data or b"") for message in messages]


async def open_campaign(client: Client, number: int, **terms: Any) -> UUID:
    """Open a campaign of so many vouchers at 30 %, or on other terms; give its id."""
    campaigns = CampaignStore(client["promotions"])
    draft = Campaign(uuid7(), "Launch", 30, number, "30 % off", 30, None, None, None)
    await campaigns.create(replace(draft, **terms), "test")
    await campaigns.open(draft.id, "test")
    return draft.id


def a_voucher(user_id: UUID, days: float = 1) -> Voucher:
    """Give a voucher of this user, at 30 %, that can be used for some days."""
    return Voucher(uuid7(), user_id, uuid7(), 1, 1, "30 % off", 30, datetime.now(UTC) + timedelta(days=days))


@asynccontextmanager
async def running(*roles: Role) -> "AsyncIterator[None]":
    """Run roles in the background for the length of a block."""
    task = asyncio.create_task(RoleGroup(*roles).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def put_voucher(client: Client, user_id: UUID) -> Voucher:
    """Put a voucher into the database, as if it had been granted; nothing says by whom."""
    voucher = a_voucher(user_id)
    document = {name: getattr(voucher, name) for name in voucher.__slots__ if name != "id"}
    now = datetime.now(UTC)
    document |= {"_id": voucher.id, "is_available": 1, "created_at": now, "updated_at": now}
    await client["promotions"]["vouchers"].insert_one(document)
    return voucher
