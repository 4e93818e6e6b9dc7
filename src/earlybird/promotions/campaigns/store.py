"""All MongoDB of campaigns. Every change holds the cursor, so that it falls between two judgements."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from earlybird.errors import Refusal
from earlybird.history.log import AuditLog, Change
from earlybird.infra.mongo import Database, Document, in_transaction, outages_as_unavailable
from earlybird.promotions.campaigns import rules as campaign_rules
from earlybird.promotions.campaigns.cursor import Cursor
from earlybird.promotions.campaigns.model import Campaign, CampaignState
from earlybird.promotions.campaigns.records import (
    CampaignRecord,
    campaign_record_of,
    document_of,
    step_of,
    terms_of,
)
from earlybird.promotions.campaigns.rules import Moment

EXTENDED = "campaign.extended"  # in the log: a position was added, to replace a withdrawn voucher
_SCHEDULE = "schedule"  # who acts when a campaign starts or ends by the clock
# Neither a draft nor over and done with.
_IN_FORCE: Document = {
    "first_n": {"$ne": None},
    "$or": [
        {"is_available": 1},
        {"ends_at": None},
        {"$expr": {"$gt": ["$ends_at", {"$max": ["$starts_at", "$$NOW"]}]}},
    ],
}
# Started or ended by the clock, and `is_available` does not say so yet.
_OVERDUE: Document = {
    "first_n": {"$ne": None},
    "$or": [
        {"is_available": 0, "$expr": {"$lte": ["$starts_at", "$$NOW"]}, "ends_at": None},
        {
            "is_available": 0,
            "$expr": {"$and": [{"$lte": ["$starts_at", "$$NOW"]}, {"$gt": ["$ends_at", "$$NOW"]}]},
        },
        {"is_available": 1, "$expr": {"$lte": ["$ends_at", "$$NOW"]}, "ends_at": {"$ne": None}},
    ],
}
T = TypeVar("T")


Rule = Callable[[CampaignRecord, Moment], Campaign]


class CampaignStore:
    """Campaigns. `actor` is whom the audit log names. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._campaigns = database["campaigns"]
        self._vouchers = database["vouchers"]
        self._cursor = Cursor(database)
        self._log = AuditLog(database)

    async def create(self, draft: Campaign, actor: str) -> CampaignRecord:
        """Add a campaign; one with a start is scheduled. Raises Refusal (see campaign_rules.created)."""

        async def transaction(session: AsyncClientSession) -> CampaignRecord:
            moment = await self._hold(session)
            campaign = campaign_rules.created(draft, moment)
            record = CampaignRecord(campaign, campaign.number_of_promotion, False, moment.now, moment.now)
            await self._campaigns.insert_one(document_of(record), session=session)
            await self._log.record(
                session, actor, moment.now, [Change("campaign.created", campaign.id, None, terms_of(campaign))]
            )
            return record

        return await self._in_transaction(transaction)

    async def open(self, campaign_id: UUID, actor: str) -> CampaignRecord:
        """Open a draft from now on. Safe to repeat. Raises Refusal (see campaign_rules.opened)."""
        return await self._change(
            campaign_id, "campaign.opened", actor, lambda old, moment: campaign_rules.opened(old.campaign, moment)
        )

    async def close(self, campaign_id: UUID, actor: str) -> CampaignRecord:
        """End a campaign now; those who logged in before that still get theirs. Safe to repeat.

        Raises Refusal `campaign_not_found`, `campaign_not_open`.
        """
        return await self._change(
            campaign_id, "campaign.closed", actor, lambda old, moment: campaign_rules.closed(old.campaign, moment)
        )

    async def edit(self, campaign_id: UUID, changes: Mapping[str, Any], actor: str) -> CampaignRecord:
        """Change some fields. Raises Refusal (see campaign_rules.edited)."""

        def rule(old: CampaignRecord, moment: Moment) -> Campaign:
            return campaign_rules.edited(old.campaign, changes, old.granted, moment)

        return await self._change(campaign_id, "campaign.edited", actor, rule)

    async def find(self, campaign_id: UUID) -> CampaignRecord:
        """Read one. Raises Refusal `campaign_not_found`."""
        async with outages_as_unavailable():
            return campaign_record_of(await self._campaigns.find_one({"_id": campaign_id}))

    async def find_all(self, limit: int) -> list[CampaignRecord]:
        """Read the newest campaigns, newest first, at most `limit`."""
        async with outages_as_unavailable():
            found = await self._campaigns.find().sort("_id", -1).limit(limit).to_list()
        return [campaign_record_of(document) for document in found]

    async def find_current(self) -> CampaignRecord | None:
        """Read the campaign that is open, if there is one, as it is now."""
        async with outages_as_unavailable():
            document = await self._campaigns.find_one({"is_available": 1})
        return None if document is None else campaign_record_of(document)

    async def find_latest_begun(self) -> CampaignRecord | None:
        """Read the campaign that is open; or else the one that began last."""
        async with outages_as_unavailable():
            begun = {"first_n": {"$ne": None}, "$expr": {"$lte": ["$starts_at", "$$NOW"]}}
            document = await self._campaigns.find_one(begun, sort=[("first_n", -1)])
        return None if document is None else campaign_record_of(document)

    async def find_behind(self) -> list[CampaignRecord]:
        """Read the campaigns that got more positions and whose next in line do not all have theirs yet."""
        found = await self._campaigns.find({"reread_n": {"$gte": 0}}).to_list()
        return [campaign_record_of(document) for document in found]

    async def keep_schedule(self) -> None:
        """Note which campaigns have started or ended by the clock. Changes nobody's voucher; safe to repeat."""
        if await self._campaigns.find_one(_OVERDUE, {"_id": 1}) is not None:
            await self._in_transaction(self._hold)

    async def add_replacement(
        self, session: AsyncClientSession, campaign_id: UUID, position: int, actor: str
    ) -> CampaignRecord:
        """Make room for one more winner, within the transaction that has withdrawn the voucher at `position`.

        Those who are next in line get theirs as after a raise. Safe to repeat. Raises Refusal (see
        campaign_rules.with_replacement).
        """
        return await self._apply(
            session,
            campaign_id,
            EXTENDED,
            actor,
            lambda old, moment: campaign_rules.with_replacement(old.campaign, position, moment),
        )

    async def _change(self, campaign_id: UUID, action: str, actor: str, rule: Rule) -> CampaignRecord:
        return await self._in_transaction(lambda session: self._apply(session, campaign_id, action, actor, rule))

    async def _apply(
        self, session: AsyncClientSession, campaign_id: UUID, action: str, actor: str, rule: Rule
    ) -> CampaignRecord:
        moment = await self._hold(session)
        old = campaign_record_of(await self._campaigns.find_one({"_id": campaign_id}, session=session))
        campaign = rule(old, moment)
        if campaign == old.campaign:
            return old
        new = replace(
            old,
            campaign=campaign,
            remaining=campaign.capacity - old.granted,
            is_available=campaign.state(moment.now) is CampaignState.OPEN,
            updated_at=moment.now,
        )
        if new.remaining > 0 == old.remaining:
            new = replace(new, reread_n=await self._last_granted(session, campaign_id, moment.next_n - 1))
        await self._campaigns.replace_one({"_id": campaign_id}, document_of(new), session=session)
        await self._log.record(session, actor, moment.now, [_change(action, old.campaign, campaign)])
        return new

    async def _last_granted(self, session: AsyncClientSession, campaign_id: UUID, judged: int) -> int | None:
        """Return the number of the campaign's last winner, or None if nobody was judged since."""
        last = await self._vouchers.find_one(
            {"campaign_id": campaign_id}, sort=[("position", -1)], session=session
        )
        return last["first_login_n"] if last is not None and last["first_login_n"] < judged else None

    async def _hold(self, session: AsyncClientSession) -> Moment:
        """Hold the cursor, bring `is_available` up to the present, and give the moment of a change."""
        now, cursor = await self._cursor.hold(session)
        found = await self._campaigns.find(_IN_FORCE, session=session).to_list()
        records = [campaign_record_of(document) for document in found]
        overdue = [one for one in records if one.is_available != (one.campaign.state(now) is CampaignState.OPEN)]
        for record in sorted(
            overdue, key=lambda record: not record.is_available
        ):  # one ends before another starts
            await self._flip(session, record, now)
        others = tuple(one.campaign for one in records if one.campaign.state(now) is not CampaignState.CLOSED)
        return Moment(now, cursor + 1, others)

    async def _flip(self, session: AsyncClientSession, record: CampaignRecord, now: datetime) -> None:
        flag, action = (0, "campaign.closed") if record.is_available else (1, "campaign.opened")
        await self._campaigns.update_one(
            {"_id": record.campaign.id}, {"$set": {"is_available": flag, "updated_at": now}}, session=session
        )
        change = Change(action, record.campaign.id, {"is_available": 1 - flag}, {"is_available": flag})
        await self._log.record(session, _SCHEDULE, now, [change])

    async def _in_transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        async with outages_as_unavailable():
            try:
                return await in_transaction("campaign", self._database, work)
            except DuplicateKeyError:
                raise Refusal("campaign_already_open", "A campaign is open already: close it first.") from None


def _change(action: str, old: Campaign, new: Campaign) -> Change:
    """Note what changed. Of a replacement that is the position added: all of them each time would be quadratic."""
    if action == EXTENDED:
        return Change(action, new.id, None, {"added": step_of(new.raises[-1])})
    return Change.between(action, new.id, terms_of(old), terms_of(new))
