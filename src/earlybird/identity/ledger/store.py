"""The ledger: every first login, numbered 1, 2, 3, … without a hole, in the order of commitment.

Collections `ledger` {_id: n, user_id, first_login_at, seal; traceparent, where the login was sampled} and `head`
{n, and where in MongoDB's change stream the n-th ends}. They only ever change together, in one transaction.
In `head` is also the secret of the seals.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import Timestamp
from pymongo import UpdateOne
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, OperationFailure

from earlybird.errors import Failure, InvariantBroken, NotMigrated
from earlybird.events import FirstLogin
from earlybird.identity.ledger.model import TRACE_FIELD, FirstLoginCommitted, check_dense, number_first_logins
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import LINEARIZABLE, Database, Document, in_transaction, outages_as_unavailable

_HEAD, _SEALS = "head", "seals"
_SEALED_AT_ONCE = 500  # older entries that get their seal in one transaction
# MongoDB: ChangeStreamHistoryLost; InvalidResumeToken, as where `users` was dropped.
_HISTORY_LOST = (286, 260)
_PLACE_KNOWN: Document = {"$or": [{"resume_token": {"$exists": True}}, {"start_at": {"$exists": True}}]}
_AWAIT_CHANGES_MS = 1000

# A first login as the change stream shows it. The key, the time and the trace travel: no personal data.
_FIRST_LOGINS: list[Document] = [
    {
        "$match": {
            "operationType": "update",
            "updateDescription.updatedFields.first_login_at": {"$exists": True},
        }
    },
    {
        "$project": {
            "documentKey._id": 1,
            "updateDescription.updatedFields.first_login_at": 1,
            f"updateDescription.updatedFields.{TRACE_FIELD}": 1,
        }
    },
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
        self._secret: bytes | None = None

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
        """Number these first logins n + 1, n + 2, …, seal them, move the head there, and give its new number.

        One transaction, decided by compare-and-set on the head's number: of any number of writers one wins
        and the others get HeadMoved. With neither token nor time the head keeps the place it has. Users who
        are in the ledger already are passed over, so calling it twice is safe.
        """

        secret = await self.secret()

        async def transaction(session: AsyncClientSession) -> int:
            known, seal = await self._known(n, [change.user_id for change in committed], session)
            entries = check_dense(n, number_first_logins(n, committed, known))
            await self._move_head(n, n + len(entries), resume_token, start_at, session)
            crash_point("sequencer.head_moved")
            if entries and seal is None:
                raise HeadMoved  # by a version that does not seal: `seal_older` comes first
            if entries and seal is not None:
                sealed = zip(entries, seal_each(secret, seal, entries), strict=True)
                await self._entries.insert_many([entry_document(*one) for one in sealed], session=session)
            return n + len(entries)

        try:
            return await in_transaction("sequencer", self._database, transaction)
        except DuplicateKeyError as error:  # a unique index: the last line of invariant 2
            raise InvariantBroken("ledger: a user or a number is in the ledger twice") from error

    async def forget_place(self) -> None:
        """Have every sequencer look through all users first: the place is of another oplog, or of before."""
        await self._heads.update_one({"_id": _HEAD}, {"$unset": {"resume_token": "", "start_at": ""}})

    async def secret(self) -> bytes:
        """Return the secret from which the commitments are made. Raises NotMigrated."""
        if self._secret is None:
            document = await self._heads.find_one({"_id": _SEALS})
            if document is None:
                raise NotMigrated("the ledger has no secret for its seals: run `earlybird migrate` first")
            self._secret = bytes(document["secret"])
        return self._secret

    async def seal_older(self) -> int:
        """Seal the entries of a version that did not seal, in order; give their number. Safe to repeat.

        Raises HeadMoved if somebody else does the same.
        """
        newest = await self._entries.find_one(sort=[("_id", -1)])
        if newest is None or "seal" in newest:
            return 0
        last = await self._entries.find_one({"seal": {"$exists": True}}, sort=[("_id", -1)])
        begun = n = last["_id"] if last else 0
        while entries := await self.read_after(n, _SEALED_AT_ONCE):
            await self._seal(n, entries)
            n = entries[-1].n
        return n - begun

    async def _seal(self, n: int, entries: Sequence[FirstLogin]) -> None:
        secret = await self.secret()

        async def transaction(session: AsyncClientSession) -> None:
            _, seal = await self._known(n, [], session)
            if seal is None:
                raise HeadMoved
            sealed = zip(entries, seal_each(secret, seal, entries), strict=True)
            done = await self._entries.bulk_write(
                [
                    UpdateOne({"_id": entry.n, "seal": {"$exists": False}}, {"$set": {"seal": seal}})
                    for entry, seal in sealed
                ],
                session=session,
            )
            if done.modified_count != len(entries):
                raise HeadMoved

        await in_transaction("sequencer", self._database, transaction)

    async def _known(
        self, n: int, user_ids: list[Any], session: AsyncClientSession
    ) -> tuple[set[Any], bytes | None]:
        """Return which of these users are in the ledger, and the seal of entry n, in one request."""
        query = {"$or": [{"_id": n}, {"user_id": {"$in": user_ids}}]}
        found = await self._entries.find(query, {"user_id": 1, "seal": 1}, session=session).to_list()
        seal = next((entry.get("seal") for entry in found if entry["_id"] == n), FIRST_SEAL if n == 0 else None)
        return {entry["user_id"] for entry in found} & set(user_ids), seal

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

    async def find_sealed(self, user_id: UUID) -> tuple[FirstLogin, bytes] | None:
        """Read a person's entry and its seal; None if there is none. Raises Unavailable."""
        async with outages_as_unavailable():
            document = await self._entries.find_one({"user_id": user_id, "seal": {"$exists": True}})
        return None if document is None else (first_login(document), document["seal"])

    async def latest_seal(self) -> tuple[int, bytes]:
        """Read number and seal of the newest sealed entry; 0 and zeros if there is none. Raises Unavailable."""
        async with outages_as_unavailable():
            document = await self._entries.find_one({"seal": {"$exists": True}}, sort=[("_id", -1)])
        return (0, FIRST_SEAL) if document is None else (document["_id"], document["seal"])

    async def find_nearby(self, n: int) -> FirstLogin | None:
        """Read the entry with this number, if there is one yet: for those who watch."""
        document = await self._entries.find_one({"_id": n})
        return None if document is None else first_login(document)

    async def find(self, n: int) -> FirstLogin | None:
        """Read the entry with this number, or None if there is surely none."""
        newest = self._entries.with_options(read_concern=LINEARIZABLE)
        document = await newest.find_one({"_id": n})
        return None if document is None else first_login(document)


def first_login(document: Document) -> FirstLogin:
    """Read a document of the collection `ledger`."""
    return FirstLogin(
        document["_id"], document["user_id"], document["first_login_at"], document.get("traceparent")
    )


def entry_document(entry: FirstLogin, seal: bytes) -> Document:
    """Write a document of the collection `ledger`."""
    document = {"_id": entry.n, "user_id": entry.user_id, "first_login_at": entry.first_login_at, "seal": seal}
    return document | ({"traceparent": entry.traceparent} if entry.traceparent else {})
