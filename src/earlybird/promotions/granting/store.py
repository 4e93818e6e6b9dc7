"""All MongoDB of granting and showing vouchers. Campaigns and redemptions have their own stores."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from earlybird.errors import InvariantBroken
from earlybird.events import FirstLogin, VoucherGranted
from earlybird.history.log import AuditLog, Change
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Database, Document, database_time, in_transaction
from earlybird.promotions.campaigns.cursor import Cursor, CursorMoved
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import campaign_of
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.granting.award import award
from earlybird.promotions.vouchers.model import Voucher

_ACTOR = "granter"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What judging once more came to."""

    vouchers: list[Voucher]
    reached_n: int | None  # None: the campaign is in step with the others again


class GrantStore:
    """Vouchers. What decides goes to the primary; GET /voucher reads near by."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._campaigns = database["campaigns"]
        self._vouchers = database["vouchers"]
        self._cursor = Cursor(database)
        self._outbox = Outbox(database)
        self._log = AuditLog(database)

    async def cursor(self) -> int:
        """Read the number of the last first login that was judged; 0 before the first. Raises NotMigrated."""
        return await self._cursor.read()

    async def commit_awards(self, cursor: int, events: Sequence[FirstLogin]) -> list[Voucher]:
        """Judge the events cursor + 1 … cursor + k and move the cursor past them, in one transaction.

        Returns the vouchers granted. Raises CursorMoved, having changed nothing, if the cursor is elsewhere: so a
        repeat, a second granter or a paused one that wakes up does nothing. Raises InvariantBroken.
        """

        async def transaction(session: AsyncClientSession) -> list[Voucher]:
            await self._cursor.move(session, cursor, events)
            crash_point("granter.cursor_moved")
            granted: list[Voucher] = []
            for campaign, remaining in await self._campaigns_with_some_left(session, events):
                vouchers = award(campaign, remaining, events)
                await self._grant(session, campaign, vouchers, events)
                granted += vouchers
            return granted

        return await self._in_transaction("granter", transaction)

    async def commit_catch_up(self, campaign_id: UUID, n: int, events: Sequence[FirstLogin]) -> CatchUp:
        """Judge once more, for one campaign that got more positions, the events n + 1 … n + k, up to the cursor.

        When the cursor is reached, or nothing is left, the campaign is in step with the others again. Until
        then new first logins are not judged for it, so that nobody overtakes those next in line. Raises
        CursorMoved, having changed nothing, if somebody else was quicker.
        """

        async def transaction(session: AsyncClientSession) -> CatchUp:
            _, cursor = await self._cursor.hold(session)
            document = await self._campaigns.find_one({"_id": campaign_id, "reread_n": n}, session=session)
            if document is None:
                raise CursorMoved
            remaining, judged = document["remaining_promotion"], [event for event in events if event.n <= cursor]
            vouchers = award(campaign_of(document), remaining, judged)
            await self._grant(session, campaign_of(document), vouchers, judged)
            crash_point("caretaker.vouchers_inserted")
            reached = judged[-1].n if judged else n
            in_step = len(vouchers) == remaining or reached >= cursor
            progress: Document = {"$unset": {"reread_n": ""}} if in_step else {"$set": {"reread_n": reached}}
            await self._campaigns.update_one({"_id": campaign_id}, progress, session=session)
            return CatchUp(vouchers, None if in_step else reached)

        return await self._in_transaction("caretaker", transaction)

    async def _in_transaction(self, name: str, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        try:
            return await in_transaction(name, self._database, work)
        except DuplicateKeyError as error:  # a unique index: the last line of invariant 4
            raise InvariantBroken("vouchers: somebody, or a position, has two vouchers of a campaign") from error

    async def _campaigns_with_some_left(
        self, session: AsyncClientSession, events: Sequence[FirstLogin]
    ) -> list[tuple[Campaign, int]]:
        earliest = min(event.first_login_at for event in events)
        in_question = {
            "remaining_promotion": {"$gt": 0},
            "first_n": {"$ne": None},
            "reread_n": None,
            "$or": [{"ends_at": None}, {"ends_at": {"$gt": earliest}}],
        }
        found = self._campaigns.find(in_question, session=session).sort("first_n", 1)
        return [(campaign_of(document), document["remaining_promotion"]) async for document in found]

    async def _grant(
        self,
        session: AsyncClientSession,
        campaign: Campaign,
        vouchers: Sequence[Voucher],
        events: Sequence[FirstLogin],
    ) -> None:
        if not vouchers:
            return
        last_winner_at = next(one.first_login_at for one in events if one.n == vouchers[-1].first_login_n)
        now = await database_time(self._database)
        await self._vouchers.insert_many([_document(voucher, now) for voucher in vouchers], session=session)
        crash_point("granter.vouchers_inserted")
        remaining = campaign.capacity - vouchers[0].position + 1
        granted = await self._campaigns.update_one(
            {"_id": campaign.id, "remaining_promotion": remaining},
            {
                "$set": {
                    "remaining_promotion": remaining - len(vouchers),
                    "last_winner_at": last_winner_at,
                    "updated_at": now,
                }
            },
            session=session,
        )
        if granted.matched_count == 0 or len(vouchers) > remaining:
            raise InvariantBroken("vouchers: positions do not go on where `remaining_promotion` says")
        await self._outbox.add(session, [_event(voucher, now) for voucher in vouchers])
        changes = [Change("voucher.granted", voucher.id, None, _logged(voucher)) for voucher in vouchers]
        await self._log.record(session, _ACTOR, now, changes)


def _document(voucher: Voucher, now: datetime) -> Document:
    fields = asdict(voucher)
    return {"_id": fields.pop("id"), **fields, "is_available": 1, "created_at": now, "updated_at": now}


def _logged(voucher: Voucher) -> Document:
    names = ("user_id", "campaign_id", "position", "first_login_n", "discount", "expire_at")
    return {name: getattr(voucher, name) for name in names}


def _event(voucher: Voucher, now: datetime) -> VoucherGranted:
    return VoucherGranted(
        voucher_id=voucher.id,
        user_id=voucher.user_id,
        time=now,
        campaign_id=voucher.campaign_id,
        position=voucher.position,
        discount=voucher.discount,
        expire_at=voucher.expire_at,
    )
