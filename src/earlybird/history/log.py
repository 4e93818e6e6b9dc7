"""The audit log: who changed what, when, from what to what. Each service keeps one, in its own database.

Entries are only ever added, in the transaction that makes the change; nothing here alters or removes one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from bson import Timestamp
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from uuid_utils.compat import uuid7

from earlybird.infra.mongo import Database, Document, outages_as_unavailable

COLLECTION = "audit_log"
_SET_BY_THE_DATABASE = Timestamp(0, 0)  # MongoDB puts its own cluster time in its place, different for each


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `before` is None for what is new, `after` for what is gone. No personal data, no secret."""

    action: str  # noun and past participle, such as `campaign.opened`
    subject: UUID
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @classmethod
    def between(cls, action: str, subject: UUID, before: Mapping[str, Any], after: Mapping[str, Any]) -> "Change":
        """Note the fields that differ, and those alone."""
        names = [name for name in after if before.get(name) != after[name]]
        return cls(
            action, subject, {name: before.get(name) for name in names}, {name: after[name] for name in names}
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries are asked for; None: whatever."""

    actor: str | None = None
    action: str | None = None
    subject: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None  # excluded

    def query(self, before: Timestamp | None) -> Document:
        """Return the query. The time of an entry is that of its place in the order, to the second."""
        named = {"actor": self.actor, "action": self.action, "subject": self.subject}
        query: Document = {name: value for name, value in named.items() if value is not None}
        upper = [one for one in (before, self.until and Timestamp(self.until, 0)) if one]
        order: Document = {"$lt": min(upper)} if upper else {}
        if self.since is not None:
            order["$gte"] = Timestamp(self.since, 0)
        return {**query, "order": order} if order else query


class AuditLog:
    """The audit log of one service."""

    def __init__(self, database: Database) -> None:
        self._entries = database[COLLECTION]

    async def record(
        self, session: AsyncClientSession, actor: str, at: datetime, changes: Sequence[Change]
    ) -> None:
        """Add the changes within the transaction that makes them.

        `actor` is a user id, `cli:<name on that machine>`, or the worker that acted by itself.
        """
        if changes:
            await self._entries.insert_many([_document(change, actor, at) for change in changes], session=session)

    async def read_page(
        self,
        before: Timestamp | None,
        limit: int,
        which: Filters = Filters(),  # frozen
    ) -> list[Document]:
        """Read at most `limit` entries, newest first, older than `before` if given. Raises Unavailable."""
        async with outages_as_unavailable():
            found = self._entries.find(which.query(before)).sort("order", DESCENDING).limit(limit)
            return await found.to_list()


async def create_filters(database: Database) -> None:
    """Index the log by what it is filtered by. A migration; safe to repeat."""
    await database[COLLECTION].create_indexes(
        [
            IndexModel([(name, ASCENDING), ("order", DESCENDING)], name=f"{name}_order")
            for name in ("actor", "action", "subject")
        ]
    )


async def create_audit_log(database: Database) -> None:
    """Index the log by its order and by what changed. A migration; safe to repeat."""
    await database[COLLECTION].create_indexes(
        [IndexModel([("order", DESCENDING)], name="order", unique=True), IndexModel("subject", name="subject")]
    )


def _document(change: Change, actor: str, at: datetime) -> Document:
    return {
        "_id": uuid7(),
        "order": _SET_BY_THE_DATABASE,
        "at": at,
        "actor": actor,
        "action": change.action,
        "subject": change.subject,
        "before": None if change.before is None else dict(change.before),
        "after": None if change.after is None else dict(change.after),
    }


def shown(value: object) -> Any:  # noqa: ANN401  # JSON
    """Return a stored value as JSON has it: ids as text, times in ISO 8601, bytes in hexadecimal."""
    match value:
        case Mapping():
            return {name: shown(part) for name, part in value.items()}
        case list() | tuple():
            return [shown(part) for part in value]
        case datetime() | date():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return value
