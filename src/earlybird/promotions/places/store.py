"""All MongoDB of places: collection `places`, a document for each run and one for how far they are known."""

from collections.abc import Sequence
from uuid import UUID

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from earlybird.events import FirstLogin
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Database, Document, in_transaction, outages_as_unavailable
from earlybird.promotions.campaigns.cursor import Cursor, CursorMoved
from earlybird.promotions.campaigns.records import campaign_of
from earlybird.promotions.places.model import Run, runs_after

_CURSOR = "cursor"


class PlaceStore:
    """Places. Those of first logins up to a number are known, and never change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places = database["places"]
        self._campaigns = database["campaigns"]
        self._vouchers = database["vouchers"]
        self._judged = Cursor(database)

    async def judged(self) -> int:
        """Read the number of the last first login that was judged. Raises NotMigrated."""
        return await self._judged.read()

    async def placed(self) -> int:
        """Read the number of the last first login whose place is known. Raises Unavailable."""
        async with outages_as_unavailable():
            document = await self._places.find_one({"_id": _CURSOR})
        return 0 if document is None else int(document["n"])

    async def find(self, n: int) -> Run | None:
        """Read the run that entry n of the ledger is in, if any campaign has counted it. Raises Unavailable."""
        async with outages_as_unavailable():
            document = await self._places.find_one({"first_n": {"$gt": 0, "$lte": n}}, sort=[("first_n", -1)])
        run = None if document is None else run_of(document)
        return run if run is not None and run.place(n) is not None else None

    async def is_withdrawn(self, campaign_id: UUID, place: int) -> bool:
        """Tell whether the voucher at this place was taken back. Raises Unavailable."""
        taken = {"campaign_id": campaign_id, "position": place, "withdrawn_at": {"$exists": True}}
        async with outages_as_unavailable():
            return await self._vouchers.find_one(taken, {"_id": 1}) is not None

    async def commit(self, n: int, events: Sequence[FirstLogin]) -> None:
        """Note the places of the events n + 1 … n + k, which are judged, in one transaction.

        What is judged is final: no change of a campaign touches it. Raises CursorMoved, having changed nothing, if
        somebody else was quicker.
        """

        async def transaction(session: AsyncClientSession) -> None:
            await self._move(n, events[-1].n, session)
            earliest = min(event.first_login_at for event in events)
            begun = {"first_n": {"$ne": None}, "$or": [{"ends_at": None}, {"ends_at": {"$gt": earliest}}]}
            campaigns = [campaign_of(one) for one in await self._campaigns.find(begun, session=session).to_list()]
            for campaign in campaigns:
                stored = await self._places.find_one(
                    {"campaign_id": campaign.id}, sort=[("first_n", -1)], session=session
                )
                last = None if stored is None else run_of(stored)
                for run in runs_after(last, campaign, events):
                    if run != last:
                        await self._places.replace_one(
                            {"first_n": run.first_n}, _document(run), upsert=True, session=session
                        )

        await in_transaction("placer", self._database, transaction)

    async def _move(self, n: int, new_n: int, session: AsyncClientSession) -> None:
        if n == 0:
            try:
                await self._places.insert_one({"_id": _CURSOR, "n": new_n}, session=session)
            except DuplicateKeyError:
                raise CursorMoved from None
        else:
            moved = await self._places.update_one(
                {"_id": _CURSOR, "n": n}, {"$set": {"n": new_n}}, session=session
            )
            if moved.matched_count == 0:
                raise CursorMoved
        crash_point("placer.cursor_moved")


async def create_places(database: Database) -> None:
    """Make the indexes: a person's run is found in one step, and no entry begins two runs."""
    begins = IndexModel(
        [("first_n", ASCENDING)], name="first_n", unique=True, partialFilterExpression={"first_n": {"$gt": 0}}
    )
    of_campaign = IndexModel([("campaign_id", ASCENDING), ("first_n", ASCENDING)], name="campaign_first_n")
    await database["places"].create_indexes([begins, of_campaign])


def run_of(document: Document) -> Run:
    """Read a run of the collection `places`."""
    return Run(document["campaign_id"], document["first_n"], document["first_place"], document["last_n"])


def _document(run: Run) -> Document:
    return {
        "campaign_id": run.campaign_id,
        "first_n": run.first_n,
        "first_place": run.first_place,
        "last_n": run.last_n,
    }
