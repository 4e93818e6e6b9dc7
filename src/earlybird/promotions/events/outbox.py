"""The outbox: events that are written with their cause, in one transaction, and wait there to be published."""

from collections.abc import Sequence
from datetime import datetime

from bson import Timestamp
from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.events import VoucherEvent
from earlybird.infra.mongo import Database, Document, count_waiting

_SET_BY_THE_DATABASE = Timestamp(0, 0)  # MongoDB puts its own cluster time in its place, different for each


class Outbox:
    """Events not yet known to be in the stream, oldest first."""

    def __init__(self, database: Database) -> None:
        self._events = database["outbox"]

    async def add(self, session: AsyncClientSession, events: Sequence[VoucherEvent]) -> None:
        """Add events within the transaction that causes them."""
        documents: list[Document] = [
            {"_id": event.id, "order": _SET_BY_THE_DATABASE, "subject": event.type, "payload": event.to_json()}
            for event in events
        ]
        if documents:
            await self._events.insert_many(documents, session=session)

    async def read(self, limit: int) -> list[Document]:
        """Read the oldest, causes before effects: `_id` (the event's id), `subject`, `payload` (bytes)."""
        return await self._events.find().sort("order", 1).limit(limit).to_list()

    async def depth(self) -> tuple[int, datetime | None]:
        """Return how many wait, up to DEPTH_COUNTED, and since when the oldest does."""
        oldest = await self._events.find_one({}, {"order": 1}, sort=[("order", 1)])
        count = await count_waiting(self._events, "order") if oldest else 0
        return count, oldest["order"].as_datetime() if oldest else None

    async def remove(self, ids: Sequence[str]) -> None:
        """Remove events that the stream has. Safe to repeat."""
        await self._events.delete_many({"_id": {"$in": list(ids)}})


async def create_outbox(database: Database) -> None:
    """Index the outbox by its order. A migration; safe to repeat."""
    await database["outbox"].create_indexes([IndexModel("order", name="order")])
