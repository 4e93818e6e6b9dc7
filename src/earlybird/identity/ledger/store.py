"""The ledger: every first login, numbered 1, 2, 3, … without a hole, in the order of commitment.

Collections `ledger` {_id: n, user_id, first_login_at} and `head` {n, and where in MongoDB's change stream
the n-th ends}. They only ever change together, in one transaction.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bson import Timestamp
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, OperationFailure

from earlybird.errors import Failure, InvariantBroken, NotMigrated
from earlybird.events import FirstLogin
from earlybird.identity.ledger.model import FirstLoginCommitted, check_dense, number_first_logins
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import LINEARIZABLE, Database, Document, in_transaction

_HEAD = "head"
# MongoDB: ChangeStreamHistoryLost; InvalidResumeToken, as where `users` was dropped.
_HISTORY_LOST = (286, 260)
_PLACE_KNOWN: Document = {"$or": [{"resume_token": {"$exists": True}}, {"start_at": {"$exists": True}}]}
_AWAIT_CHANGES_MS = 1000

# A first login as the change stream shows it. Only the key and the time travel: no personal data.
_FIRST_LOGINS: list[Document] = [
    {
        "$match": {
            "operationType": "update",
            "updateDescription.updatedFields.first_login_at": {"$exists": True},
        }
    },
    {"$project": {"documentKey._id": 1, "updateDescription.updatedFields.first_login_at": 1}},
]

ResumeToken = Mapping[str, Any]


class HistoryLost(Exception):
    """MongoDB's oplog no longer reaches back to where the ledger ends, or `users` was dropped or renamed since."""


class HeadMoved(Exception):
    """Somebody else appended first: nothing was written, read the head again."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last number given, and the place in the change stream from which the next is to be read.

    With neither a token nor a time the place is unknown: reconcile first.
    """

    n: int
    resume_token: ResumeToken | None = None
    start_at: Timestamp | None = None


class Ledger:
    """The ledger and its head. Reads and writes go to the primary, at majority."""

    def __init__(self, database: Database) -> None:
        """Keep the ledger in this database, beside the users it numbers."""
        self._database = database
        self._users = database["users"]
        self._entries = database["ledger"]
        self._heads = database["head"]

    async def head(self) -> Head:
        """Read the head. Raises NotMigrated."""
        document = await self._heads.find_one({"_id": _HEAD})
        if document is None:
            raise NotMigrated("there is no ledger head: run `earlybird migrate` first")
        return Head(document["n"], document.get("resume_token"), document.get("start_at"))

    @asynccontextmanager
    async def watch(self, head: Head) -> AsyncIterator[AsyncChangeStream[Document]]:
        """Open the stream of first logins committed after the head. Raises HistoryLost.

        The block's end does not close it: the reader does, for it may not be closed while it is being asked.
        """
        options: dict[str, Any] = {"start_at_operation_time": head.start_at}
        if head.resume_token is not None:
            options = {"resume_after": head.resume_token}
        elif head.start_at is None:
            raise HistoryLost
        try:
            yield await self._users.watch(_FIRST_LOGINS, max_await_time_ms=_AWAIT_CHANGES_MS, **options)
        except OperationFailure as error:
            if error.code in _HISTORY_LOST:
                raise HistoryLost from error
            raise

    async def append(
        self,
        n: int,
        committed: Sequence[FirstLoginCommitted],
        *,
        resume_token: ResumeToken | None = None,
        start_at: Timestamp | None = None,
    ) -> int:
        """Number these first logins n + 1, n + 2, …, move the head there, and give its new number.

        One transaction, decided by compare-and-set on the head's number: of any number of writers one wins
        and the others get HeadMoved. With neither token nor time the head keeps the place it has. Users who
        are in the ledger already are passed over, so calling it twice is safe.
        """

        async def transaction(session: AsyncClientSession) -> int:
            known = await self._known([change.user_id for change in committed], session)
            entries = check_dense(n, number_first_logins(n, committed, known))
            await self._move_head(n, n + len(entries), resume_token, start_at, session)
            crash_point("sequencer.head_moved")
            if entries:
                await self._entries.insert_many([_document(entry) for entry in entries], session=session)
            return n + len(entries)

        try:
            return await in_transaction("sequencer", self._database, transaction)
        except DuplicateKeyError as error:  # a unique index: the last line of invariant 2
            raise InvariantBroken("ledger: a user or a number is in the ledger twice") from error

    async def _known(self, user_ids: list[Any], session: AsyncClientSession) -> set[Any]:
        if not user_ids:
            return set()
        found = self._entries.find({"user_id": {"$in": user_ids}}, {"user_id": 1}, session=session)
        return {entry["user_id"] async for entry in found}

    async def _move_head(
        self,
        n: int,
        new_n: int,
        resume_token: ResumeToken | None,
        start_at: Timestamp | None,
        session: AsyncClientSession,
    ) -> None:
        at: Document = {"_id": _HEAD, "n": n}
        update: Document = {"$set": {"n": new_n}}
        if resume_token is not None:
            at |= _PLACE_KNOWN  # else it was taken away, as by a restore: nobody follows on before reconciling
            update = {"$set": {"n": new_n, "resume_token": resume_token}, "$unset": {"start_at": ""}}
        elif start_at is not None:
            update = {"$set": {"n": new_n, "start_at": start_at}, "$unset": {"resume_token": ""}}
        moved = await self._heads.update_one(at, update, session=session)
        if moved.matched_count == 0:
            raise HeadMoved

    @asynccontextmanager
    async def all_first_logins(self) -> AsyncIterator[tuple[Timestamp, AsyncIterator[FirstLoginCommitted]]]:
        """Read every user with a first login as of one moment, ordered by (first_login_at, _id), and that moment.

        For when the order of commitment itself is lost: all that was committed by the moment is among the
        users, and the change stream has all that came later. A scan at majority would not do: it sees some
        users of now and some of before, and so a later first login without an earlier one. MongoDB keeps a
        moment for 300 s by default (minSnapshotHistoryWindowInSeconds).
        """
        async with self._database.client.start_session(causal_consistency=True) as session:
            await self._database.command("ping", session=session)
            moment = session.operation_time
        if moment is None:
            raise Failure("MongoDB gave no operation time: it must be a replica set")
        # A snapshot session would choose its moment itself, and not tell it.
        async with await self._database.cursor_command(
            "find",
            "users",
            codec_options=self._database.codec_options,
            filter={"first_login_at": {"$exists": True}},
            projection={"first_login_at": 1},
            sort={"first_login_at": 1, "_id": 1},
            allowDiskUse=True,
            readConcern={"level": "snapshot", "atClusterTime": moment},
        ) as users:
            yield moment, (FirstLoginCommitted(user["_id"], user["first_login_at"]) async for user in users)

    async def read_after(self, n: int, limit: int) -> Sequence[FirstLogin]:
        """Read at most `limit` entries from n + 1 on, in order. Raises InvariantBroken where one is missing."""
        found = self._entries.find({"_id": {"$gt": n}}).sort("_id", 1).limit(limit)
        return check_dense(n, [first_login(document) async for document in found])

    async def find(self, n: int) -> FirstLogin | None:
        """Read the entry with this number, or None if there is surely none."""
        newest = self._entries.with_options(read_concern=LINEARIZABLE)
        document = await newest.find_one({"_id": n})
        return None if document is None else first_login(document)


def first_login(document: Document) -> FirstLogin:
    """Read a document of the collection `ledger`."""
    return FirstLogin(document["_id"], document["user_id"], document["first_login_at"])


def _document(entry: FirstLogin) -> Document:
    return {"_id": entry.n, "user_id": entry.user_id, "first_login_at": entry.first_login_at}
