"""All MongoDB of the endpoints: `webhook_endpoints` has who is told of what; the audit log, who changed that."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.errors import Refusal
from earlybird.history.log import AuditLog, Change
from earlybird.infra.mongo import Database, Document, database_time, in_transaction, outages_as_unavailable
from earlybird.promotions.webhooks.model import MOST_ENDPOINTS, Endpoint, Kind, Topic


class EndpointStore:
    """Endpoints, and the log of their changes. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._endpoints = database["webhook_endpoints"]
        self._queues = database["webhook_queues"]
        self._log = AuditLog(database)

    async def find_all(self, session: AsyncClientSession | None = None) -> list[Endpoint]:
        """Return all, oldest first."""
        async with outages_as_unavailable():
            found = self._endpoints.find({}, session=session).sort("created_at", 1)
            return [_endpoint_of(document) async for document in found]

    async def find(self, endpoint_id: UUID) -> Endpoint:
        """Return one. Raises Refusal `webhook_not_found`."""
        async with outages_as_unavailable():
            document = await self._endpoints.find_one({"_id": endpoint_id})
        if document is None:
            raise _not_found()
        return _endpoint_of(document)

    async def add(self, endpoint: Endpoint, actor: str) -> None:
        """Add one. Raises Refusal `too_many_webhooks`."""

        async def work(session: AsyncClientSession) -> None:
            if await self._endpoints.count_documents({}, session=session) >= MOST_ENDPOINTS:
                raise Refusal("too_many_webhooks", f"There are {MOST_ENDPOINTS} already: remove one first.")
            fields = asdict(endpoint)
            await self._endpoints.insert_one({"_id": fields.pop("id"), **_plain(fields)}, session=session)
            await self._note(session, "webhook.added", endpoint.id, actor, None, _told(endpoint))

        async with outages_as_unavailable():
            await in_transaction("webhook", self._database, work)

    async def change(self, endpoint_id: UUID, changes: Mapping[str, Any], action: str, actor: str) -> Endpoint:
        """Change fields of one, and return it as it is then. Raises Refusal `webhook_not_found`."""

        async def work(session: AsyncClientSession) -> Endpoint:
            before = await self._endpoints.find_one_and_update(
                {"_id": endpoint_id}, {"$set": _plain(changes)}, session=session
            )
            if before is None:
                raise _not_found()
            old, new = _endpoint_of(before), _endpoint_of({**before, **_plain(changes)})
            if old != new:
                change = Change.between(action, endpoint_id, _told(old), _told(new))
                await self._log.record(session, actor, await database_time(self._database), [change])
            return new

        async with outages_as_unavailable():
            return await in_transaction("webhook", self._database, work)

    async def remove(self, endpoint_id: UUID, actor: str) -> None:
        """Remove one, with all that waits for it. Raises Refusal `webhook_not_found`."""

        async def work(session: AsyncClientSession) -> None:
            before = await self._endpoints.find_one_and_delete({"_id": endpoint_id}, session=session)
            if before is None:
                raise _not_found()
            await self._queues.delete_many({"endpoint_id": endpoint_id}, session=session)
            await self._note(session, "webhook.removed", endpoint_id, actor, _told(_endpoint_of(before)), None)

        async with outages_as_unavailable():
            await in_transaction("webhook", self._database, work)

    async def _note(
        self,
        session: AsyncClientSession,
        action: str,
        endpoint_id: UUID,
        actor: str,
        before: Document | None,
        after: Document | None,
    ) -> None:
        at = await database_time(self._database)
        await self._log.record(session, actor, at, [Change(action, endpoint_id, before, after)])


def _plain(fields: Mapping[str, Any]) -> Document:
    plain = dict(fields)
    if "kind" in plain:
        plain["kind"] = plain["kind"].value
    if "topics" in plain:
        plain["topics"] = [topic.value for topic in plain["topics"]]
    return plain


def _endpoint_of(document: Document) -> Endpoint:
    fields = {name: value for name, value in document.items() if name not in {"_id", "kind", "topics"}}
    topics = tuple(Topic(topic) for topic in document["topics"])
    return Endpoint(id=document["_id"], kind=Kind(document["kind"]), topics=topics, **fields)


def _told(endpoint: Endpoint) -> Document:
    """Return what the audit log may say: the address may be a secret, so its host alone."""
    return {
        "kind": endpoint.kind.value,
        "host": endpoint.host,
        "topics": [topic.value for topic in endpoint.topics],
        "is_paused": endpoint.is_paused,
        "secret_number": endpoint.secret_number,
    }


def _not_found() -> Refusal:
    return Refusal("webhook_not_found", "There is no such webhook.")
