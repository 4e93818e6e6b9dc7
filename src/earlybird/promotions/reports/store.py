"""All MongoDB of reports. Nothing is written; a look that would take too long is refused."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pymongo
from pymongo import ASCENDING, DESCENDING, IndexModel

from earlybird.infra.mongo import Database, Document, outages_as_unavailable
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import CampaignRecord, campaign_of
from earlybird.promotions.places.store import run_of
from earlybird.promotions.redemptions.model import Redemption, RedemptionState
from earlybird.promotions.redemptions.store import redemption_of
from earlybird.promotions.reports.model import (
    Figures,
    HolderEntry,
    entries_of_redemption,
    entries_of_voucher,
)

_REPORT_SECONDS = 2  # longer than it takes for a million vouchers


class ReportStore:
    """Reports on campaigns and on those who hold vouchers. Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._campaigns = database["campaigns"]
        self._vouchers = database["vouchers"]
        self._redemptions = database["redemptions"]
        self._places = database["places"]

    async def winners(
        self, campaign_id: UUID, after: int, limit: int, user_id: UUID | None = None
    ) -> list[Document]:
        """Read vouchers of a campaign by position, above `after`; of one person if asked for."""
        query: Document = {"campaign_id": campaign_id, "position": {"$gt": after}}
        if user_id is not None:
            query = {"campaign_id": campaign_id, "user_id": user_id}
        async with _in_time():
            return await self._vouchers.find(query).sort("position", 1).limit(limit).to_list()

    async def redemptions(self, campaign_id: UUID, before: UUID | None, limit: int) -> list[Redemption]:
        """Read what was spent or held in a campaign, newest first, older than `before`."""
        query: Document = {"campaign_id": campaign_id}
        if before is not None:
            query["_id"] = {"$lt": before}
        async with _in_time():
            found = await self._redemptions.find(query).sort("_id", -1).limit(limit).to_list()
        return [redemption_of(document) for document in found]

    async def withdrawn(self, campaign_id: UUID, after: int, limit: int) -> list[Document]:
        """Read the vouchers that were taken back, by position, above `after`."""
        query = {"campaign_id": campaign_id, "position": {"$gt": after}, "withdrawn_at": {"$exists": True}}
        async with _in_time():
            return await self._vouchers.find(query).sort("position", 1).limit(limit).to_list()

    async def figures(self, record: CampaignRecord) -> Figures:
        """Count what has become of a campaign's vouchers."""
        campaign_id = record.campaign.id
        async with _in_time():
            withdrawn = await self._vouchers.count_documents(
                {"campaign_id": campaign_id, "withdrawn_at": {"$exists": True}}
            )
            groups = await self._groups(campaign_id)
        in_line = await self.in_line(record)
        done = [group for group in groups if group["_id"]["state"] == RedemptionState.REDEEMED]
        states = dict.fromkeys(RedemptionState, 0) | {"held": 0}
        for group in groups:
            states[group["_id"]["state"]] += group["count"]
            states["held"] += group["held"]
        return Figures(
            granted=record.granted,
            remaining=record.remaining,
            withdrawn=withdrawn,
            held=states["held"],
            redeemed=states[RedemptionState.REDEEMED],
            refunded=states[RedemptionState.REFUNDED],
            given={group["_id"]["currency"]: group["discount"] for group in done},
            in_line=in_line,
        )

    async def _groups(self, campaign_id: UUID) -> list[Document]:
        pipeline = summing(campaign_id, datetime.now(UTC))
        return await (await self._redemptions.aggregate(pipeline)).to_list()

    async def in_line(self, record: CampaignRecord) -> int:
        """Return how many people with a place have no voucher: those who come next if there are more."""
        async with _in_time():
            last = await self._places.find_one({"campaign_id": record.campaign.id}, sort=[("first_n", -1)])
        if last is None:
            return 0
        return max(0, run_of(last).last_place - record.granted)

    async def curve(self, record: CampaignRecord, positions: Sequence[int]) -> list[tuple[int, datetime]]:
        """Return when the vouchers at these positions were granted."""
        query = {"campaign_id": record.campaign.id, "position": {"$in": list(positions)}}
        async with _in_time():
            found = self._vouchers.find(query, {"position": 1, "created_at": 1}).sort("position", 1)
            return [(voucher["position"], voucher["created_at"]) async for voucher in found]

    async def holder(self, user_id: UUID) -> list[HolderEntry]:
        """Return what happened to a person's vouchers, oldest first."""
        now = datetime.now(UTC)
        entries: list[HolderEntry] = []
        async with _in_time():
            vouchers = await self._vouchers.find({"user_id": user_id}).to_list()
            campaigns = await self._terms([one["campaign_id"] for one in vouchers])
            spent = self._redemptions.find({"voucher_id": {"$in": [one["_id"] for one in vouchers]}})
            async for document in spent:
                entries += entries_of_redemption(redemption_of(document), now)
        for voucher in vouchers:
            entries += entries_of_voucher(voucher, campaigns[voucher["campaign_id"]], now)
        return sorted(entries, key=lambda entry: entry.at)

    async def _terms(self, ids: Sequence[UUID]) -> dict[UUID, Campaign]:
        found = self._campaigns.find({"_id": {"$in": list(ids)}})
        return {document["_id"]: campaign_of(document) async for document in found}


def summing(campaign_id: UUID, now: datetime) -> list[Document]:
    """Return what adds up a campaign's redemptions by state and currency, from the index `figures` alone."""
    runs = [{"$eq": ["$state", RedemptionState.RESERVED.value]}, {"$gt": ["$reserved_until", now]}]
    return [
        {"$match": {"campaign_id": campaign_id}},
        {
            "$group": {
                "_id": {"state": "$state", "currency": "$currency"},
                "count": {"$sum": 1},
                "discount": {"$sum": "$discount_amount"},
                "held": {"$sum": {"$cond": [{"$and": runs}, 1, 0]}},
            }
        },
    ]


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    async with outages_as_unavailable():
        with pymongo.timeout(_REPORT_SECONDS):
            yield


async def create_reports(database: Database) -> None:
    """Index redemptions by campaign, and by what the figures add up. A migration; safe to repeat."""
    summed: list[Any] = ["campaign_id", "state", "currency", "discount_amount", "reserved_until"]
    await database["redemptions"].create_indexes(
        [
            IndexModel([("campaign_id", ASCENDING), ("_id", DESCENDING)], name="campaign"),
            IndexModel([(name, ASCENDING) for name in summed], name="figures"),
        ]
    )
