"""Are the redemptions right: each voucher spent at most once, amounts add up, all of it in the audit log."""

from dataclasses import fields

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import promotions
from earlybird.history.log import COLLECTION as AUDIT_LOG
from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit import rules
from earlybird.operations.audit.findings import Difference, Proof, Report
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import EXTENDED
from earlybird.promotions.redemptions.model import RedemptionState
from earlybird.promotions.redemptions.store import redemption_of
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

    async def check(self, report: Report) -> None:
        """Report each proof. Raises Difference."""
        await self.check_redemptions(report)
        noted = await self._check_log()
        report(Proof("audit log", f"{noted} changes of campaigns, vouchers and redemptions, each noted once"))

    async def check_redemptions(self, report: Report) -> None:
        """Report that each voucher was spent once at most. Raises Difference."""
        tally = rules.Tally()
        pipeline = await self._promotions["redemptions"].aggregate(_WITH_VOUCHER, session=self._session)
        async for document in pipeline:
            redemption = redemption_of(document)
            if not document["voucher"]:
                raise Difference(f"redemption {redemption.id}: there is no voucher {redemption.voucher_id}")
            tally.add(redemption, document["voucher"][0], voucher_of(document["voucher"][0]))
        spent = {"is_available": 0, "withdrawn_at": None}
        await self._check_count("vouchers", spent, tally.spent, "are spent", "redeemed redemptions")
        await self._check_count(
            "vouchers",
            {"$or": [{"held_by": {"$ne": None}}, {"held_until": {"$ne": None}}]},
            tally.held,
            "are held",
            "reservations that hold one",
        )
        given = (
            ", ".join(f"{amount} {currency}" for currency, amount in sorted(tally.discounts.items())) or "nothing"
        )
        statement = f"vouchers spent: {tally.spent}, each once; amounts add up ({given} taken off)"
        report(Proof("redemptions", statement))

    async def _check_log(self) -> int:
        """Compare what the log says with what there is."""
        noted = 0
        for action, collection, query in (
            ("campaign.created", "campaigns", {}),
            ("voucher.granted", "vouchers", {}),
            ("voucher.withdrawn", "vouchers", {"withdrawn_at": {"$exists": True}}),
            ("redemption.withdrawn", "redemptions", {"state": RedemptionState.WITHDRAWN.value}),
            ("redemption.redeemed", "redemptions", {"redeemed_at": {"$ne": None}}),
            ("redemption.refunded", "redemptions", {"refunded_at": {"$ne": None}}),
            ("redemption.released", "redemptions", {"released_at": {"$ne": None}}),
        ):
            there_are = await self._count(collection, query)
            await self._check_count(AUDIT_LOG, {"action": action}, there_are, f"say {action}", collection)
            await self._check_noted_once(action, collection, query)
            noted += there_are
        await self._check_campaigns()
        await self._check_withdrawals()
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
                if entry["action"] == EXTENDED:
                    noted["raises"] = [*noted["raises"], entry["after"]["added"]]
                else:
                    noted |= entry["after"]
            for name in _CAMPAIGN_FIELDS:
                if noted.get(name) != document[name]:
                    raise Difference(f"campaign “{document['name']}”: {name} is not what the audit log says")

    async def _check_withdrawals(self) -> None:
        """Compare each withdrawn voucher with its entry in the log."""
        noted = {"from": AUDIT_LOG, "localField": "_id", "foreignField": "subject", "as": "noted"}
        pipeline: list[Document] = [{"$match": {"withdrawn_at": {"$exists": True}}}, {"$lookup": noted}]
        async for voucher in await self._promotions["vouchers"].aggregate(pipeline, session=self._session):
            [entry] = [entry for entry in voucher["noted"] if entry["action"] == "voucher.withdrawn"]
            rules.check_withdrawal_noted(voucher, entry["after"])

    async def _check_count(self, collection: str, query: Document, expected: int, are: str, of_what: str) -> None:
        found = await self._count(collection, query)
        if found != expected:
            raise Difference(f"{collection}: {found} {are}, but there are {expected} {of_what}")

    async def _count(self, collection: str, query: Document) -> int:
        return await self._promotions[collection].count_documents(query, session=self._session)
