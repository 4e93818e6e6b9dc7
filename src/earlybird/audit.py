"""The audit: recomputes who should hold which voucher, from ledger and campaigns, and compares.

It reads both services' data as of one moment (a MongoDB snapshot), so it may run beside live traffic, and it
streams: memory does not grow with the number of users. It changes nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import nats.errors
import pymongo
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.errors import Failure
from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity import store as identity
from earlybird.identity.ledger import first_login
from earlybird.infra.mongo import Client, Document
from earlybird.promotions import store as promotions
from earlybird.promotions.model import Campaign, Voucher, award
from earlybird.promotions.store import campaign_of, voucher_of

T = TypeVar("T")
_LONGEST_SECONDS = 280  # MongoDB keeps a snapshot for 300 s
_PAGE = 1000
_POLL_SECONDS = 0.1


class Difference(Failure):
    """What was found is not what must be; the message says where they first differ."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was checked and holds."""

    subject: str
    statement: str


class Audit:
    """Checks the promise on what is stored."""

    def __init__(self, client: Client, jetstream: JetStreamContext, *, wait_seconds: float = 10) -> None:
        """Check this deployment; what is on its way when the audit begins gets `wait_seconds` to arrive."""
        self._client = client
        self._identity = client[identity.DATABASE]
        self._promotions = client[promotions.DATABASE]
        self._jetstream = jetstream
        self._wait_seconds = wait_seconds

    async def run(self, report: Callable[[Proof], None]) -> None:
        """Check everything, reporting each proof as it stands. Raises Difference at the first that does not."""
        with pymongo.timeout(_LONGEST_SECONDS):
            async with self._client.start_session(snapshot=True) as session:
                last = await self._check_ledger(session)
                report(Proof("ledger", f"{last} first logins, numbered without a hole"))
                await self._check_users(session)
                report(Proof("users", "everyone who ever logged in is in the ledger once, and nobody else"))
                await self._check_stream(session, last)
                report(Proof("stream", f"messages 1 to {last} are the ledger's entries 1 to {last}"))
                judged = await self._check_cursor(session, last)
                report(Proof("cursor", f"{judged} first logins judged"))
                for campaign, remaining in await self._campaigns(session):
                    granted = await self._check_campaign(session, campaign, remaining, judged)
                    report(Proof(f"campaign “{campaign.name}”", _summary(campaign, granted)))
                await self._check_strays(session)
                report(Proof("vouchers", "none outside a campaign, one campaign open at most"))

    async def _check_ledger(self, session: AsyncClientSession) -> int:
        last = 0
        async for entry in self._ledger(session):
            last += 1
            if entry.n != last:
                raise Difference(f"ledger: after {last - 1} comes {entry.n}, not {last}")
        head = await self._identity["head"].find_one({"_id": "head"}, session=session)
        if head is None or head["n"] != last:
            raise Difference(f"ledger: the head says {head and head['n']}, the last entry is {last}")
        return last

    async def _check_users(self, session: AsyncClientSession) -> None:
        """Join users and ledger, both in order of user id."""
        users = self._identity["users"].find(
            {"$or": [{"is_first_login": 0}, {"first_login_at": {"$exists": True}}]},
            {"is_first_login": 1, "first_login_at": 1},
            session=session,
        )
        entries = self._identity["ledger"].find(session=session).sort("user_id", 1)
        entry = await anext(entries, None)
        on_their_way: list[UUID] = []
        async for user in users.sort("_id", 1):
            user_id: UUID = user["_id"]
            if user.get("first_login_at") is None or user["is_first_login"] != 0:
                raise Difference(
                    f"users: {user_id} has is_first_login and first_login_at that contradict each other"
                )
            if entry is None or entry["user_id"].bytes > user_id.bytes:
                on_their_way.append(user_id)
                continue
            if entry["user_id"] != user_id:
                raise Difference(f"ledger: entry {entry['_id']} is of {entry['user_id']}, who never logged in")
            if entry["first_login_at"] != user["first_login_at"]:
                raise Difference(f"ledger: entry {entry['_id']} is dated otherwise than its user {user_id}")
            entry = await anext(entries, None)
        if entry is not None:
            raise Difference(
                f"ledger: entry {entry['_id']} is of {entry['user_id']}, who never logged in or is in it twice"
            )
        await self._wait_for_ledger(on_their_way)

    async def _wait_for_ledger(self, user_ids: list[UUID]) -> None:
        """Give first logins that were committed a moment before the snapshot time to reach the ledger."""
        ledger = self._identity["ledger"]

        async def first_missing() -> UUID | None:
            for user_id in user_ids:
                if await ledger.find_one({"user_id": user_id}) is None:
                    return user_id
            return None

        missing = await self._until_none(first_missing)
        if missing is not None:
            raise Difference(f"users: the first login of {missing} never reached the ledger")

    async def _check_stream(self, session: AsyncClientSession, last: int) -> None:
        async def lag() -> int | None:
            info = await self._jetstream.stream_info(STREAM)
            return info.state.last_seq if info.state.last_seq < last else None

        try:
            behind = await self._until_none(lag)
            if behind is not None:
                raise Difference(f"stream: it ends at {behind}, the ledger at {last}")
            messages = self._messages(last)
            async for entry in self._ledger(session):
                sequence, data = await anext(messages, (None, b""))
                if sequence != entry.n or data != entry.to_json():
                    raise Difference(f"stream: message {sequence} is not the ledger's entry {entry.n}")
        except NotFoundError:
            raise Difference(f"stream: there is no stream {STREAM}") from None

    async def _messages(self, last: int) -> AsyncIterator[tuple[int, bytes]]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True, num_replicas=1
        )
        consumer = await self._jetstream.pull_subscribe(SUBJECT, stream=STREAM, config=config)
        try:
            read = 0
            while read < last:
                for message in await consumer.fetch(min(_PAGE, last - read), timeout=5):
                    read += 1
                    yield message.metadata.sequence.stream, message.data
        except nats.errors.TimeoutError:
            return
        finally:
            await consumer.unsubscribe()

    async def _check_cursor(self, session: AsyncClientSession, last: int) -> int:
        cursors = self._promotions["cursor"]
        cursor = await cursors.find_one({"_id": "first-logins"}, session=session)
        judged = 0 if cursor is None else int(cursor["n"])
        if judged > last:
            raise Difference(f"cursor: {judged} first logins are judged, the ledger has {last}")

        async def lag() -> int | None:
            now = await cursors.find_one({"_id": "first-logins"})
            n = 0 if now is None else int(now["n"])
            return n if n < last else None

        behind = await self._until_none(lag)
        if behind is not None:
            raise Difference(f"cursor: {behind} first logins are judged, the ledger has {last}")
        return judged

    async def _campaigns(self, session: AsyncClientSession) -> list[tuple[Campaign, int]]:
        found = self._promotions["campaigns"].find(session=session).sort("first_n", 1)
        return [(campaign_of(document), document["remaining_promotion"]) async for document in found]

    async def _check_campaign(
        self, session: AsyncClientSession, campaign: Campaign, remaining: int, judged: int
    ) -> int:
        """Recompute the campaign's vouchers and compare them, one by one, with those stored."""
        stored = (
            self._promotions["vouchers"].find({"campaign_id": campaign.id}, session=session).sort("position", 1)
        )
        granted = 0
        async for page in self._pages(session, judged):
            for voucher in award(campaign, campaign.number_of_promotion - granted, page):
                granted += 1
                _compare(campaign, voucher, await anext(stored, None))
        surplus = await anext(stored, None)
        if surplus is not None:
            raise Difference(f"campaign “{campaign.name}”: position {surplus['position']} was earned by nobody")
        if remaining != campaign.number_of_promotion - granted:
            expected = campaign.number_of_promotion - granted
            raise Difference(f"campaign “{campaign.name}”: remaining is {remaining}, not {expected}")
        return granted

    async def _check_strays(self, session: AsyncClientSession) -> None:
        campaigns = self._promotions["campaigns"]
        known = [campaign.id for campaign, _ in await self._campaigns(session)]
        stray = await self._promotions["vouchers"].find_one({"campaign_id": {"$nin": known}}, session=session)
        if stray is not None:
            raise Difference(f"vouchers: {stray['_id']} belongs to no campaign")
        opened = await campaigns.count_documents({"is_available": 1}, session=session)
        if opened > 1:
            raise Difference(f"campaigns: {opened} are open at once")

    async def _ledger(self, session: AsyncClientSession) -> AsyncIterator[FirstLogin]:
        async for document in self._identity["ledger"].find(session=session).sort("_id", 1):
            yield first_login(document)

    async def _pages(self, session: AsyncClientSession, judged: int) -> AsyncIterator[list[FirstLogin]]:
        page: list[FirstLogin] = []
        async for entry in self._ledger(session):
            if entry.n > judged:
                break
            page.append(entry)
            if len(page) == _PAGE:
                yield page
                page = []
        yield page

    async def _until_none(self, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """Ask again until the answer is None or the wait is over; give the last answer."""
        deadline = time.monotonic() + self._wait_seconds
        while True:
            answer = await ask()
            if answer is None or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(_POLL_SECONDS)


def _compare(campaign: Campaign, expected: Voucher, document: Document | None) -> None:
    where = f"campaign “{campaign.name}”, position {expected.position}"
    if document is None:
        raise Difference(f"{where}: {expected.user_id} earned a voucher and holds none")
    found = voucher_of(document)
    if found.user_id != expected.user_id:
        raise Difference(f"{where}: {expected.user_id} earned the voucher, {found.user_id} holds it")
    if found != replace(
        found,
        **{name: getattr(expected, name) for name in ("id", "position", "description", "discount", "expire_at")},
    ):
        raise Difference(f"{where}: the voucher is not on the campaign's terms")


def _summary(campaign: Campaign, granted: int) -> str:
    return f"{granted} of {campaign.number_of_promotion} vouchers, to exactly those who came first, in that order"
