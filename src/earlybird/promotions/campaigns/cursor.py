"""The cursor: how far the ledger has been judged. A change of a campaign holds it until it is committed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.errors import NotMigrated
from earlybird.events import FirstLogin
from earlybird.infra.mongo import Database, Document, database_time

_ID = "first-logins"
_TICK = timedelta(milliseconds=1)  # MongoDB's dates have milliseconds


class CursorMoved(Exception):
    """Somebody else processed these events first: nothing was written, read the cursor again."""


class Cursor:
    """The number of the last first login that was judged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursors = database["cursor"]

    async def read(self) -> int:
        """Return the cursor; 0 before the first. Raises NotMigrated."""
        return int(_existing(await self._cursors.find_one({"_id": _ID}))["n"])

    async def move(self, session: AsyncClientSession, n: int, events: Sequence[FirstLogin]) -> None:
        """Move the cursor from `n` past these events, by compare-and-set. Raises CursorMoved."""
        latest = max(event.first_login_at for event in events)
        moved = await self._cursors.update_one(
            {"_id": _ID, "n": n},
            {"$set": {"n": events[-1].n}, "$max": {"latest_first_login_at": latest}},
            session=session,
        )
        if moved.matched_count == 0:
            raise CursorMoved

    async def hold(self, session: AsyncClientSession) -> tuple[datetime, int]:
        """Let nothing be judged until this transaction ends; give the time and the cursor.

        The time is the database's, because first logins are dated by it. It never goes back, and is later than
        every first login judged so far: what is decided as of now cannot touch what was granted.
        """
        now = await database_time(self._database)
        cursor = _existing(
            await self._cursors.find_one_and_update(
                {"_id": _ID},
                {"$max": {"latest_change_at": now}, "$inc": {"changes": 1}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        )
        judged = cursor.get("latest_first_login_at")
        return max(cursor["latest_change_at"], judged + _TICK if judged else now), int(cursor["n"])


def _existing(document: Document | None) -> Document:
    if document is None:
        raise NotMigrated("there is no cursor: run `earlybird migrate` first")
    return document
