"""All MongoDB of showing vouchers."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from pymongo.read_preferences import PrimaryPreferred

from earlybird.infra.mongo import NEARBY, Database, Document, outages_as_unavailable
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import campaign_of
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher

_VOUCHER_FIELDS = [field.name for field in fields(Voucher)]


class VoucherStore:
    """Vouchers as their owners see them: GET /voucher reads near by."""

    def __init__(self, database: Database) -> None:
        self._campaigns = database["campaigns"]
        vouchers = database["vouchers"]
        self._nearby_vouchers = vouchers.with_options(read_preference=NEARBY)
        self._newest_vouchers = vouchers.with_options(read_preference=PrimaryPreferred())

    async def find_current_vouchers(
        self, user_ids: Sequence[UUID], now: datetime, *, newest: bool
    ) -> dict[UUID, Voucher]:
        """Find, of each user who has one, the usable voucher that expires first; on a secondary if there is one.

        May be a little old, unless the `newest` is asked for. Raises Unavailable.
        """
        vouchers = self._newest_vouchers if newest else self._nearby_vouchers
        usable = {
            "user_id": {"$in": user_ids},
            "is_available": 1,
            "expire_at": {"$gt": now},
            "$or": [{"held_until": None}, {"held_until": {"$lte": now}}],
        }
        found: dict[UUID, Voucher] = {}
        async with outages_as_unavailable():
            async for document in vouchers.find(usable).sort("expire_at", 1):
                found.setdefault(document["user_id"], voucher_of(document))
        return found

    async def find_vouchers(self, user_id: UUID) -> list[tuple[HeldVoucher, Campaign]]:
        """Find all of the user's vouchers, newest first, each with its campaign. Raises Unavailable."""
        async with outages_as_unavailable():
            found = await self._newest_vouchers.find({"user_id": user_id}).sort("created_at", -1).to_list()
            ids = {"_id": {"$in": [document["campaign_id"] for document in found]}}
            campaigns = {document["_id"]: campaign_of(document) async for document in self._campaigns.find(ids)}
        return [(held_voucher_of(document), campaigns[document["campaign_id"]]) for document in found]


def voucher_of(document: Document) -> Voucher:
    """Read a document of the collection `vouchers`."""
    return Voucher(id=document["_id"], **{name: document[name] for name in _VOUCHER_FIELDS if name != "id"})


def held_voucher_of(document: Document) -> HeldVoucher:
    """Read a document of the collection `vouchers`, with what has become of it."""
    is_withdrawn = document.get("withdrawn_at") is not None
    return HeldVoucher(
        voucher_of(document), document["is_available"] == 1, document.get("held_until"), is_withdrawn
    )
