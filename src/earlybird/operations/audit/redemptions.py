"""Are the redemptions right: each voucher spent at most once, amounts add up, all of it in the audit log."""

from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import promotions
from earlybird.history.log import COLLECTION as AUDIT_LOG
from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit.findings import Difference, Proof
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.redemptions.model import Redemption, RedemptionState, discount_amount
from earlybird.promotions.redemptions.store import redemption_of
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.vouchers.store import voucher_of

# Each with its voucher, grouped by it; the order is that of an index, so MongoDB streams.
_WITH_VOUCHER: list[Document] = [
    {"$sort": {"voucher_id": 1}},
    {"$lookup": {"from": "vouchers", "localField": "voucher_id", "foreignField": "_id", "as": "voucher"}},
]
_CAMPAIGN_FIELDS = [field.name for field in fields(Campaign) if field.name != "id"]


class RedemptionAudit:
    """Checks what became of the vouchers."""

    def __init__(self, client: Client, session: AsyncClientSession) -> None:
        self._promotions = client[promotions.DATABASE]
        self._session = session

    async def check(self) -> AsyncIterator[Proof]:
        """Return each proof as it stands. Raises Difference."""
        spent, held, discounts = 0, 0, dict[str, int]()
        last_spent = None
        pipeline = await self._promotions["redemptions"].aggregate(_WITH_VOUCHER, session=self._session)
        async for document in pipeline:
            redemption = redemption_of(document)
            if not document["voucher"]:
                raise Difference(f"redemption {redemption.id}: there is no voucher {redemption.voucher_id}")
            voucher = document["voucher"][0]
            _check_terms(redemption, voucher_of(voucher))
            held += _check_hold(redemption, voucher)
            if redemption.state is RedemptionState.REDEEMED:
                if redemption.voucher_id == last_spent:
                    raise Difference(f"voucher {redemption.voucher_id}: it was spent twice")
                if voucher["is_available"]:
                    raise Difference(f"voucher {redemption.voucher_id}: it is available, and redeemed")
                last_spent = redemption.voucher_id
                spent += 1
                discounts[redemption.currency] = discounts.get(redemption.currency, 0) + redemption.discount_amount
        await self._check_count("vouchers", {"is_available": 0}, spent, "are spent", "redeemed redemptions")
        await self._check_count(
            "vouchers",
            {"$or": [{"held_by": {"$ne": None}}, {"held_until": {"$ne": None}}]},
            held,
            "are held",
            "reservations that hold one",
        )
        given = ", ".join(f"{amount} {currency}" for currency, amount in sorted(discounts.items())) or "nothing"
        yield Proof("redemptions", f"vouchers spent: {spent}, each once; amounts add up ({given} taken off)")
        yield Proof(
            "audit log",
            f"{await self._check_log()} changes of campaigns, vouchers and redemptions, each noted once",
        )

    async def _check_log(self) -> int:
        """Compare what the log says with what there is."""
        noted = 0
        for action, collection, query in (
            ("campaign.created", "campaigns", {}),
            ("voucher.granted", "vouchers", {}),
            ("redemption.redeemed", "redemptions", {"redeemed_at": {"$ne": None}}),
            ("redemption.refunded", "redemptions", {"refunded_at": {"$ne": None}}),
            ("redemption.released", "redemptions", {"released_at": {"$ne": None}}),
        ):
            there_are = await self._count(collection, query)
            await self._check_count(AUDIT_LOG, {"action": action}, there_are, f"say {action}", collection)
            await self._check_noted_once(action, collection, query)
            noted += there_are
        await self._check_campaigns()
        return noted

    async def _check_noted_once(self, action: str, collection: str, query: Document) -> None:
        """See that each is noted, and once. As many are noted as there are, so then nothing else is noted."""
        noted: Document = {
            "from": AUDIT_LOG,
            "localField": "_id",
            "foreignField": "subject",
            "pipeline": [{"$match": {"action": action}}, {"$project": {"_id": 1}}],
            "as": "noted",
        }
        pipeline: list[Document] = [{"$match": query}, {"$project": {"_id": 1}}, {"$lookup": noted}]
        pipeline += [{"$match": {"noted": {"$not": {"$size": 1}}}}, {"$limit": 1}]
        async for document in await self._promotions[collection].aggregate(pipeline, session=self._session):
            raise Difference(f"audit_log: {action} of {document['_id']} is there {len(document['noted'])} times")

    async def _check_campaigns(self) -> None:
        """Compare each campaign with what its changes in the log come to."""
        async for document in self._promotions["campaigns"].find(session=self._session):
            entries = self._promotions[AUDIT_LOG].find({"subject": document["_id"]}, session=self._session)
            noted: Document = {}
            async for entry in entries.sort("order", 1):
                noted |= entry["after"]
            for name in _CAMPAIGN_FIELDS:
                if noted.get(name) != document[name]:
                    raise Difference(f"campaign “{document['name']}”: {name} is not what the audit log says")

    async def _check_count(self, collection: str, query: Document, expected: int, are: str, of_what: str) -> None:
        found = await self._count(collection, query)
        if found != expected:
            raise Difference(f"{collection}: {found} {are}, but there are {expected} {of_what}")

    async def _count(self, collection: str, query: Document) -> int:
        return await self._promotions[collection].count_documents(query, session=self._session)


def _check_terms(redemption: Redemption, voucher: Voucher) -> None:
    where = f"redemption {redemption.id}"
    if (redemption.user_id, redemption.campaign_id) != (voucher.user_id, voucher.campaign_id):
        raise Difference(f"{where}: it is not of its voucher's owner and campaign")
    if redemption.discount_amount != discount_amount(voucher, redemption.amount):
        raise Difference(f"{where}: the discount is not the voucher's")
    if redemption.payable_amount != redemption.amount - redemption.discount_amount:
        raise Difference(f"{where}: amount, discount and payable amount do not add up")
    if voucher.currency not in {None, redemption.currency} or redemption.amount < (voucher.min_amount or 0):
        raise Difference(f"{where}: the voucher is not for such a purchase")


def _check_hold(redemption: Redemption, voucher: dict[str, Any]) -> bool:
    """Tell whether this is the reservation that holds the voucher."""
    if voucher.get("held_by") != redemption.id:
        return False
    if redemption.state is not RedemptionState.RESERVED or voucher.get("held_until") != redemption.reserved_until:
        raise Difference(
            f"voucher {redemption.voucher_id}: it is held by {redemption.id}, which is {redemption.state}"
        )
    return True
