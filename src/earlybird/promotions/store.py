"""All MongoDB of promotions: campaigns, vouchers, and the cursor (how far the ledger has been judged)."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pymongo import ReadPreference, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from earlybird.errors import Refusal
from earlybird.events import FirstLogin
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Database, Document, outages_as_unavailable
from earlybird.promotions.model import Campaign, Voucher, award

DATABASE = "promotions"
_CURSOR = "first-logins"
_TRANSACTION: dict[str, Any] = {
    "read_concern": ReadConcern("snapshot"),
    "write_concern": WriteConcern("majority"),
    "read_preference": ReadPreference.PRIMARY,
}


class CursorMoved(Exception):
    """Another granter processed these events first: nothing was written, read the cursor again."""


class VoucherStore:
    """Campaigns, vouchers and the cursor. What decides goes to the primary; GET /voucher reads near by."""

    def __init__(self, database: Database) -> None:
        """Keep them in this database."""
        self._database = database
        self._campaigns = database["campaigns"]
        self._vouchers = database["vouchers"]
        self._cursors = database["cursor"]
        self._nearby_vouchers = self._vouchers.with_options(read_preference=ReadPreference.SECONDARY_PREFERRED)

    async def cursor(self) -> int:
        """Read the number of the last first login that was judged; 0 before the first.

        Raises LookupError if the database was never migrated.
        """
        document = await self._cursors.find_one({"_id": _CURSOR})
        if document is None:
            raise LookupError("there is no cursor: run `earlybird migrate` first")
        return int(document["n"])

    async def commit_awards(self, cursor: int, events: Sequence[FirstLogin], now: datetime) -> list[Voucher]:
        """Judge the events cursor + 1 … cursor + k and move the cursor past them, in one transaction.

        Returns the vouchers granted. Raises CursorMoved, having changed nothing, if the cursor is not where
        the caller thinks: so a repeat, a second granter or a zombie does nothing. A DuplicateKeyError is a
        broken invariant, and is let out.
        """

        async def transaction(session: AsyncClientSession) -> list[Voucher]:
            latest = max(event.first_login_at for event in events)
            moved = await self._cursors.update_one(
                {"_id": _CURSOR, "n": cursor},
                {"$set": {"n": events[-1].n}, "$max": {"latest_first_login_at": latest}},
                session=session,
            )
            if moved.matched_count == 0:
                raise CursorMoved
            crash_point("granter.cursor_moved")
            granted: list[Voucher] = []
            for campaign, remaining in await self._campaigns_with_some_left(session):
                vouchers = award(campaign, remaining, events)
                if vouchers:
                    await self._grant(campaign, vouchers, now, session)
                granted += vouchers
            crash_point("granter.before_commit")
            return granted

        async with self._database.client.start_session() as session:
            return await session.with_transaction(transaction, **_TRANSACTION)

    async def _campaigns_with_some_left(self, session: AsyncClientSession) -> list[tuple[Campaign, int]]:
        found = self._campaigns.find({"remaining_promotion": {"$gt": 0}}, session=session).sort("first_n", 1)
        return [(campaign_of(document), document["remaining_promotion"]) async for document in found]

    async def _grant(
        self, campaign: Campaign, vouchers: Sequence[Voucher], now: datetime, session: AsyncClientSession
    ) -> None:
        await self._vouchers.insert_many([_document(voucher, now) for voucher in vouchers], session=session)
        crash_point("granter.vouchers_inserted")
        await self._campaigns.update_one(
            {"_id": campaign.id},
            {"$inc": {"remaining_promotion": -len(vouchers)}, "$set": {"updated_at": now}},
            session=session,
        )

    async def find_current_voucher(self, user_id: UUID, now: datetime) -> Voucher | None:
        """Find the user's usable voucher that expires first, on a secondary if there is one.

        May be a little old. Raises Unavailable.
        """
        usable = {"user_id": user_id, "is_available": 1, "expire_at": {"$gt": now}}
        async with outages_as_unavailable():
            document = await self._nearby_vouchers.find_one(usable, sort=[("expire_at", 1)])
        return None if document is None else voucher_of(document)

    async def open_campaign(
        self, campaign_id: UUID, *, name: str, discount: int, number: int, description: str, voucher_days: int
    ) -> Campaign:
        """Open a campaign from now on, with no end, for the first logins that are not judged yet.

        Raises Refusal `campaign_already_open`.
        """

        async def transaction(session: AsyncClientSession) -> Campaign:
            now, cursor = await self._stop_the_clock(session)
            campaign = Campaign(
                id=campaign_id,
                name=name,
                discount=discount,
                number_of_promotion=number,
                description=description,
                voucher_days=voucher_days,
                first_n=cursor["n"] + 1,
                starts_at=max(now, await self._last_end(session) or now),
                ends_at=None,
            )
            await self._campaigns.insert_one(_campaign_document(campaign, now), session=session)
            return campaign

        async with self._database.client.start_session() as session:
            try:
                return await session.with_transaction(transaction, **_TRANSACTION)
            except DuplicateKeyError:
                raise Refusal("campaign_already_open", "A campaign is open already: close it first.") from None

    async def close_campaign(self, campaign_id: UUID) -> None:
        """End the open campaign now; those who logged in before that still get theirs. Safe to repeat.

        The end is after every first login already judged, so that judging them again gives the same.
        """

        async def transaction(session: AsyncClientSession) -> None:
            now, cursor = await self._stop_the_clock(session)
            judged = cursor.get("latest_first_login_at")
            ends_at = max(now, judged + timedelta(milliseconds=1)) if judged else now
            await self._campaigns.update_one(
                {"_id": campaign_id, "is_available": 1},
                {"$set": {"is_available": 0, "ends_at": ends_at, "updated_at": now}},
                session=session,
            )

        async with self._database.client.start_session() as session:
            await session.with_transaction(transaction, **_TRANSACTION)

    async def open_campaigns(self) -> list[tuple[Campaign, int]]:
        """Read the campaigns that are open (one at most) with what remains of each."""
        found = self._campaigns.find({"is_available": 1})
        return [(campaign_of(document), document["remaining_promotion"]) async for document in found]

    async def _stop_the_clock(self, session: AsyncClientSession) -> tuple[datetime, Document]:
        """Hold all judging until this transaction ends; give the database's time and the cursor's document.

        It is the database's clock, because first logins are dated by it.
        """
        cursor = await self._cursors.find_one_and_update(
            {"_id": _CURSOR}, {"$inc": {"campaign_changes": 1}}, session=session
        )
        if cursor is None:
            raise LookupError("there is no cursor: run `earlybird migrate` first")
        hello = await self._database.command("hello", codec_options=self._database.codec_options)
        return hello["localTime"], cursor

    async def _last_end(self, session: AsyncClientSession) -> datetime | None:
        last = await self._campaigns.find_one({"ends_at": {"$ne": None}}, sort=[("ends_at", -1)], session=session)
        return None if last is None else last["ends_at"]


def campaign_of(document: Document) -> Campaign:
    """Read a document of the collection `campaigns`."""
    names = (
        "name",
        "discount",
        "number_of_promotion",
        "description",
        "voucher_days",
        "first_n",
        "starts_at",
        "ends_at",
    )
    return Campaign(id=document["_id"], **{name: document[name] for name in names})


def voucher_of(document: Document) -> Voucher:
    """Read a document of the collection `vouchers`."""
    names = ("user_id", "campaign_id", "position", "description", "discount", "expire_at")
    return Voucher(id=document["_id"], **{name: document[name] for name in names})


def _campaign_document(campaign: Campaign, now: datetime) -> Document:
    fields = asdict(campaign)
    return {
        "_id": fields.pop("id"),
        **fields,
        "remaining_promotion": campaign.number_of_promotion,
        "is_available": 1,
        "created_at": now,
        "updated_at": now,
    }


def _document(voucher: Voucher, now: datetime) -> Document:
    fields = asdict(voucher)
    return {"_id": fields.pop("id"), **fields, "is_available": 1, "created_at": now, "updated_at": now}
