"""All MongoDB of what waits for the endpoints, and how far the stream has been read.

Theory of operation. `webhook_queues` has a document for each endpoint and subject, whose `events` are delivered
from the front, one at a time. What may happen:

- The collector dies, or two run. Events enter the queues in one transaction with the cursor (compare-and-set), so
  each enters once. An event that the stream has twice has the same id, and is not put in twice in a row.
- The dispatcher dies while it delivers. Its lease ends, and the event is delivered again: at least once. (Crash
  points: `dispatcher.claimed`, `dispatcher.sent`.)
- Two dispatchers want the same queue: the claim is one conditional update. One that was so slow that its lease
  has ended does not take the event out of the queue again, for it names its lease.
- A delivery fails for three days: the queue is dead. It is shown, an alarm tells of it, and it waits for a person
  who has it tried again. What comes after it for the same subject waits behind it, so the order holds.
- An endpoint is removed while something is put into its queues: `sweep` removes what belongs to nobody.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from pymongo import ASCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from earlybird.history.log import AuditLog, Change
from earlybird.infra.mongo import (
    DEPTH_COUNTED,
    Database,
    Document,
    database_time,
    in_transaction,
    outages_as_unavailable,
)
from earlybird.promotions.webhooks.endpoints import EndpointStore
from earlybird.promotions.webhooks.model import Delivery, Endpoint, Event, Topic

LEASE = timedelta(seconds=60)  # longer than a delivery may take
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = "vouchers"
_NOTICES_KEPT_SECONDS = 400 * 86_400  # longer than a campaign lasts


class CollectorMoved(Exception):
    """Another collector was quicker: read the cursor again."""


class QueueStore:
    """What waits to be delivered, and how far the stream has been read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queues = database["webhook_queues"]
        self._cursor = database["webhook_cursor"]
        self._notices = database["webhook_notices"]
        self._endpoints = EndpointStore(database)
        self._log = AuditLog(database)

    async def now(self) -> datetime:
        """Return the database's time, by which all that waits is due."""
        return await database_time(self._database)

    async def cursor(self) -> tuple[datetime | None, int]:
        """Return of which stream (by when it was made), and up to which sequence, events have been collected."""
        found = await self._cursor.find_one({"_id": _CURSOR}) or {}
        return found.get("stream_created"), found.get("n", 0)

    async def begin(self, before: datetime | None, stream_created: datetime, n: int) -> None:
        """Go on behind sequence n of a stream that was made since. Safe to repeat, and beside another."""
        place = {"stream_created": stream_created, "n": n}
        if before is not None:
            await self._cursor.update_one({"_id": _CURSOR, "stream_created": before}, {"$set": place})
            return
        with suppress(DuplicateKeyError):
            await self._cursor.insert_one({"_id": _CURSOR, **place})

    async def collect(self, stream_created: datetime, n: int, up_to: int, events: Sequence[Event]) -> None:
        """Put events n+1 … `up_to` into the queues of all who are told of them. Raises CollectorMoved."""

        async def work(session: AsyncClientSession) -> None:
            moved = await self._cursor.update_one(
                {"_id": _CURSOR, "stream_created": stream_created, "n": n}, {"$set": {"n": up_to}}, session=session
            )
            if moved.matched_count == 0:
                raise CollectorMoved
            await self._put(session, events)

        await in_transaction("collector", self._database, work)

    async def announce(self, events: Mapping[str, Event]) -> int:
        """Put notices, by what makes each happen once, into the queues. Returns how many were new."""

        async def one(key: str, event: Event) -> bool:
            async def work(session: AsyncClientSession) -> None:
                now = await database_time(self._database)
                await self._notices.insert_one({"_id": key, "at": now}, session=session)
                await self._put(session, [event])

            try:
                await in_transaction("announcer", self._database, work)
            except DuplicateKeyError:
                return False
            return True

        known = await self.told(list(events))
        return sum([await one(key, event) for key, event in events.items() if key not in known])

    async def told(self, keys: Sequence[str]) -> set[str]:
        """Return which of these notices were put into the queues."""
        return {found["_id"] async for found in self._notices.find({"_id": {"$in": list(keys)}}, {"_id": 1})}

    async def withdraw(self, key: str, event: Event) -> None:
        """Tell that what a notice said is over, so that it can be told again. Nothing if it was not told."""

        async def work(session: AsyncClientSession) -> None:
            if (await self._notices.delete_one({"_id": key}, session=session)).deleted_count:
                await self._put(session, [event])

        await in_transaction("announcer", self._database, work)

    async def put(self, endpoint: Endpoint, event: Event) -> None:
        """Put an event into the queue of one endpoint, whatever it is told of."""
        await self._queues.bulk_write([_push(endpoint, event, await database_time(self._database))])

    async def _put(self, session: AsyncClientSession, events: Sequence[Event]) -> None:
        endpoints = await self._endpoints.find_all(session)
        now = await database_time(self._database)
        pushes = [
            _push(endpoint, event, now)
            for event in events
            for endpoint in endpoints
            if event.topic in endpoint.topics
        ]
        if pushes:
            await self._queues.bulk_write(pushes, session=session)

    async def claim(self, endpoints: Mapping[UUID, Endpoint]) -> Delivery | None:
        """Claim what has been due for longest, for one of these endpoints; None: nothing is due."""
        now, lease = await database_time(self._database), uuid4()
        query = {"endpoint_id": {"$in": list(endpoints)}, "due_at": {"$lte": now}, "leased_until": {"$lte": now}}
        found = await self._queues.find_one_and_update(
            query,
            {"$set": {"lease": lease, "leased_until": now + LEASE}},
            sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        first = found["events"][0]
        event = Event(first["id"], Topic(first["topic"]), found["subject"], bytes(first["payload"]))
        return Delivery(found["_id"], lease, endpoints[found["endpoint_id"]], event, found["attempts"])

    async def delivered(self, delivery: Delivery) -> None:
        """Take the event out of its queue, and the queue away with its last. Nothing if the lease was lost."""
        now = await database_time(self._database)
        own = {"_id": delivery.queue, "lease": delivery.lease, "events.0.id": delivery.event.id}
        removed = await self._queues.delete_one({**own, "events": {"$size": 1}})
        if removed.deleted_count == 0:
            begin = {"attempts": 0, "error": None, "due_at": now, "leased_until": _NEVER}
            await self._queues.update_one(own, {"$pop": {"events": -1}, "$set": begin})

    async def failed(self, delivery: Delivery, reason: str, due_at: datetime | None) -> None:
        """Note a failed attempt; `due_at` None: the queue is dead."""
        await self._queues.update_one(
            {"_id": delivery.queue, "lease": delivery.lease},
            {
                "$set": {"error": reason, "due_at": due_at, "leased_until": _NEVER},
                "$inc": {"attempts": 1},
            },
        )

    async def find(self, endpoint_id: UUID, *, dead: bool, limit: int) -> list[Document]:
        """Return queues of one endpoint, the longest due first: those that are dead, or those that wait."""
        query = {"endpoint_id": endpoint_id, "due_at": None if dead else {"$ne": None}}
        async with outages_as_unavailable():
            return await self._queues.find(query).sort("due_at", 1).limit(limit).to_list()

    async def count(self) -> Mapping[UUID, tuple[int, int]]:
        """Return for each endpoint how many queues wait, and how many are dead."""
        grouped = {
            "_id": "$endpoint_id",
            "all": {"$sum": 1},
            "dead": {"$sum": {"$cond": [{"$eq": ["$due_at", None]}, 1, 0]}},
        }
        async with outages_as_unavailable():
            by_index = {"$sort": {"endpoint_id": 1, "due_at": 1}}
            found = await (await self._queues.aggregate([by_index, {"$group": grouped}])).to_list()
        return {one["_id"]: (one["all"] - one["dead"], one["dead"]) for one in found}

    async def depth(self) -> tuple[int, datetime | None]:
        """Return how many queues wait, up to DEPTH_COUNTED, and since when the oldest of these does.

        What is dead, or for an endpoint that is paused, is left out.
        """
        going = [one.id for one in await self._endpoints.find_all() if not one.is_paused]
        waiting = {"endpoint_id": {"$in": going}, "due_at": {"$ne": None}}
        grouped = {"_id": None, "n": {"$sum": 1}, "since": {"$min": "$since"}}
        steps: list[Document] = [{"$match": waiting}, {"$limit": DEPTH_COUNTED}, {"$group": grouped}]
        found = await (await self._queues.aggregate(steps)).to_list()
        return (found[0]["n"], found[0]["since"]) if found else (0, None)

    async def dead(self) -> int:
        """Return how many queues are dead."""
        return await self._queues.count_documents({"due_at": None})

    async def replay(self, endpoint_id: UUID, actor: str) -> int:
        """Have all that is dead tried again, from the first attempt on. Returns how many queues."""
        async with outages_as_unavailable():
            now = await database_time(self._database)

            async def work(session: AsyncClientSession) -> int:
                done = await self._queues.update_many(
                    {"endpoint_id": endpoint_id, "due_at": None},
                    {"$set": {"due_at": now, "attempts": 0}},
                    session=session,
                )
                if done.modified_count:
                    change = Change("webhook.replayed", endpoint_id, None, {"queues": done.modified_count})
                    await self._log.record(session, actor, now, [change])
                return done.modified_count

            return await in_transaction("webhook", self._database, work)

    async def sweep(self) -> None:
        """Remove queues of endpoints that have been removed."""
        known = [one.id for one in await self._endpoints.find_all()]
        await self._queues.delete_many({"endpoint_id": {"$nin": known}})


async def create_webhooks(database: Database) -> None:
    """Index queues by what is due. A migration; safe to repeat."""
    await database["webhook_queues"].create_indexes(
        [
            IndexModel([("endpoint_id", ASCENDING), ("due_at", ASCENDING)], name="endpoint_due"),
            IndexModel([("due_at", ASCENDING), ("since", ASCENDING)], name="due_since"),
        ]
    )
    await database["webhook_notices"].create_indexes(
        [IndexModel("at", name="at", expireAfterSeconds=_NOTICES_KEPT_SECONDS)]
    )


def _push(endpoint: Endpoint, event: Event, now: datetime) -> UpdateOne:
    """Add an event to its queue, which is made if there is none; nothing if the event waits there already."""
    new = {"id": event.id, "topic": event.topic.value, "payload": event.payload, "at": now}
    known = {"$ifNull": ["$events", []]}
    with_it = {"$concatArrays": [known, [{"$literal": new}]]}
    fields = {
        "endpoint_id": endpoint.id,
        "subject": event.subject,
        "since": now,
        "attempts": 0,
        "error": None,
        "due_at": now,
        "lease": None,
        "leased_until": _NEVER,
    }
    begin = {
        name: {"$cond": [{"$eq": [{"$type": f"${name}"}, "missing"]}, {"$literal": value}, f"${name}"]}
        for name, value in fields.items()
    }
    events = {"$cond": [{"$in": [event.id, {"$ifNull": ["$events.id", []]}]}, known, with_it]}
    return UpdateOne(
        {"_id": f"{endpoint.id}/{event.subject}"}, [{"$set": {"events": events, **begin}}], upsert=True
    )
