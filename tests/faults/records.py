"""Reads what is stored: by and by as an observer, and all of it in the end."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pymongo
from nats.aio.client import Client as NatsClient
from nats.js.errors import NotFoundError
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from uuid_utils.compat import uuid7

from earlybird.errors import Unavailable
from earlybird.events import STREAM, VOUCHER_STREAM, FirstLogin
from earlybird.infra.mongo import Document
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.withdrawals.model import Wanted
from earlybird.promotions.withdrawals.store import WithdrawalStore
from faults.cluster import Cluster
from faults.history import Call, FinalState, History, Observation, Outcome, Redemption, User, Withdrawal
from faults.people import is_bot
from faults.replica import read_replica

_EVERY_SECONDS = 0.2
_READ_SECONDS = 5


class Records:
    """The records of one run: its campaign, and what came after `base`."""

    def __init__(self, cluster: Cluster, campaign: Campaign, base: int, prefix: str, number: int) -> None:
        self._cluster = cluster
        self.campaign = campaign
        self._identity = cluster.mongo["identity"]
        self._promotions = cluster.mongo["promotions"]
        self.base = base
        self._prefix = prefix
        self._number = number
        self._began = datetime.now(UTC)  # before anything is told

    @classmethod
    async def begin(cls, cluster: Cluster, prefix: str, number: int, *, opened_with: int) -> "Records":
        """Open a campaign of N = `opened_with`, to be `number` in the end; what is stored so far is of before."""
        campaigns = CampaignStore(cluster.mongo["promotions"])
        for record in await campaigns.find_all(1000):
            if record.campaign.ends_at is None:
                await campaigns.close(record.campaign.id, "faults")
        draft = Campaign(uuid7(), prefix, 30, opened_with, "30 % off", 30, None, None, None)
        await campaigns.create(draft, "faults")
        opened = (await campaigns.open(draft.id, "faults")).campaign
        return cls(cluster, opened, (opened.first_n or 1) - 1, prefix, number)

    async def raise_number(self) -> None:
        """Raise N, once all that there were are granted, so that those next in line are looked for."""
        campaigns = self._promotions["campaigns"]
        while await campaigns.find_one({"_id": self.campaign.id, "remaining_promotion": {"$gt": 0}}):
            await asyncio.sleep(_EVERY_SECONDS)
        await CampaignStore(self._promotions).edit(
            self.campaign.id, {"number_of_promotion": self._number}, "faults"
        )

    async def withdraw(self, history: History) -> None:
        """Withdraw the bots' vouchers, once all are granted, until no bot has one; two of three are replaced."""
        store, asked = WithdrawalStore(self._promotions), 0
        while (bots := await self._bots_with_a_voucher()) or bots is None:
            for user_id in bots or ():
                started, wanted, asked = time.monotonic(), Wanted(self.campaign.id, user_id), asked + 1
                try:
                    await store.withdraw(wanted, "a bot", "faults", replace=asked % 3 > 0)
                except (PyMongoError, Unavailable):
                    continue  # it may be done; it is asked for again if not
                now, who = time.monotonic(), str(user_id)
                history.calls.append(Call("withdraw", who, started, now, Outcome.OK, who))
            await asyncio.sleep(_EVERY_SECONDS)

    async def _bots_with_a_voucher(self) -> list[UUID] | None:
        """Give the bots among the winners; None while there are vouchers left, or nothing can be read."""
        try:
            return await self._read_bots()
        except PyMongoError:
            return None

    async def _read_bots(self) -> list[UUID] | None:
        sold_out = {"_id": self.campaign.id, "remaining_promotion": 0, "reread_n": None}
        if await self._promotions["campaigns"].find_one(sold_out) is None:
            return None
        found = self._promotions["vouchers"].find({"campaign_id": self.campaign.id, "withdrawn_at": None})
        winners = [voucher["user_id"] async for voucher in found]
        users = self._identity["users"].find({"_id": {"$in": winners}}, {"username": 1})
        return [user["_id"] async for user in users if is_bot(user["username"])]

    async def close(self) -> None:
        """Close the campaign."""
        await CampaignStore(self._promotions).close(self.campaign.id, "faults")

    async def observe(self, history: History) -> None:
        """Note what is stored, again and again, until cancelled; what cannot be read is not noted."""
        while True:
            try:
                with pymongo.timeout(_READ_SECONDS):  # not by cancelling: see infra.http_server
                    history.observations.append(await self._look())
            except PyMongoError:
                pass
            await asyncio.sleep(_EVERY_SECONDS)

    async def _look(self) -> Observation:
        at = time.monotonic()
        async with self._cluster.mongo.start_session(snapshot=True) as session:
            cursor = await self._cursor(session)
            winners = tuple(user_id for _, user_id in await self._positions(session))
            withdrawn = len(await self._withdrawn(session))
            ledger = tuple(entry.user_id for entry in await self._ledger(session))
        return Observation(at, ledger, winners, cursor, withdrawn)

    async def final(self) -> FinalState:
        """Read everything: what is stored in MongoDB as of one moment, the copies before it, as they follow it."""
        replicas = {
            name: read_replica(self._cluster.root / name, STREAM, self.base + 1)
            for name in self._cluster.names("nats")
        }
        told = await self._told()
        async with self._cluster.mongo.start_session(snapshot=True) as session:
            users = self._identity["users"].find({"username": {"$regex": f"^{self._prefix}-"}}, session=session)
            redemptions = self._promotions["redemptions"].find({"campaign_id": self.campaign.id}, session=session)
            campaign = (
                await self._promotions["campaigns"].find_one({"_id": self.campaign.id}, session=session) or {}
            )
            return FinalState(
                base=self.base,
                number=self._number,
                opened_with=self.campaign.number_of_promotion,
                starts_at=campaign["starts_at"],
                ends_at=campaign["ends_at"],
                users={one["username"]: User(one["_id"], one.get("first_login_at")) async for one in users},
                ledger=await self._ledger(session),
                positions=await self._positions(session),
                remaining=campaign["remaining_promotion"],
                cursor=await self._cursor(session),
                redemptions=[Redemption(one["_id"], one["user_id"], one["state"]) async for one in redemptions],
                replicas=replicas,
                told=told,
                withdrawn=[
                    Withdrawal(
                        one["position"],
                        one["user_id"],
                        one["is_available"] == 1 or one.get("held_by") is not None,
                        one["position"] in {step.get("replaces") for step in campaign["raises"]},
                    )
                    for one in await self._withdrawn(session)
                ],
            )

    async def _cursor(self, session: AsyncClientSession) -> int:
        return int((await self._promotions["cursor"].find_one({}, session=session) or {"n": 0})["n"])

    async def _positions(self, session: AsyncClientSession) -> list[tuple[int, UUID]]:
        found = self._promotions["vouchers"].find({"campaign_id": self.campaign.id}, session=session)
        return [(voucher["position"], voucher["user_id"]) async for voucher in found.sort("position", 1)]

    async def _withdrawn(self, session: AsyncClientSession) -> list[Document]:
        query = {"campaign_id": self.campaign.id, "withdrawn_at": {"$ne": None}}
        return await self._promotions["vouchers"].find(query, session=session).sort("position", 1).to_list()

    async def _ledger(self, session: AsyncClientSession) -> list[FirstLogin]:
        found = self._identity["ledger"].find({"_id": {"$gt": self.base}}, session=session).sort("_id", 1)
        return [FirstLogin(one["_id"], one["user_id"], one["first_login_at"]) async for one in found]

    async def _told(self) -> Sequence[str]:
        """Give the ids of the campaign's voucher events; none while there is no such stream."""
        try:
            messages = await _read_directly(self._cluster.broker, VOUCHER_STREAM, self._began)
        except NotFoundError:
            return []
        events = [json.loads(payload) for _, payload in messages]
        return [one["id"] for one in events if one["data"]["campaign_id"] == str(self.campaign.id)]


async def have_earlier_logins(cluster: Cluster, count: int) -> None:
    """Have so many people in the ledger who logged in before any campaign; they need no password."""
    users = cluster.mongo["identity"]["users"]
    now = datetime.now(UTC)
    await users.insert_many(
        {
            "_id": uuid7(),
            "username": f"earlier-{i}",
            "email": f"earlier-{i}@example.com",
            "phone": f"+8491{i:07}",
            "is_active": 1,
            "is_first_login": 1,
            "created_at": now,
        }
        for i in range(count)
    )
    await users.update_many(
        {"is_first_login": 1}, {"$set": {"is_first_login": 0}, "$currentDate": {"first_login_at": True}}
    )
    while ((await cluster.mongo["promotions"]["cursor"].find_one({})) or {"n": 0})["n"] < count:
        await asyncio.sleep(_EVERY_SECONDS)


async def _read_directly(client: NatsClient, stream: str, since: datetime) -> list[tuple[int, bytes]]:
    """Read a stream from a time on, in batches, by JetStream's direct get (its ADR-31)."""
    found: list[tuple[int, bytes]] = []
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    begin: dict[str, object] = {"start_time": since.isoformat()}
    try:
        while True:
            request = json.dumps({**begin, "batch": 1000}).encode()
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
            before = len(found)
            while True:
                message = await subscription.next_msg(timeout=2)
                headers = message.headers or {}
                if "Nats-Sequence" not in headers:  # 204: that was all; 404: there is none
                    break
                found.append((int(headers["Nats-Sequence"]), message.data))
                begin = {"seq": found[-1][0] + 1}
            if len(found) == before:
                return found
    finally:
        await subscription.unsubscribe()
