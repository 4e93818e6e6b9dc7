"""Are the vouchers right: exactly what ledger and campaigns say, recomputed one by one."""

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import promotions
from earlybird.infra.mongo import Client
from earlybird.operations.audit import rules
from earlybird.operations.audit.findings import Difference, Proof, Report, until_none
from earlybird.operations.audit.first_logins import FirstLoginAudit
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import CampaignRecord, campaign_record_of
from earlybird.promotions.granting.award import award
from earlybird.promotions.vouchers.store import voucher_of


class VoucherAudit:
    """Checks every campaign's vouchers."""

    def __init__(
        self, client: Client, first_logins: FirstLoginAudit, session: AsyncClientSession, wait_seconds: float
    ) -> None:
        self._promotions = client[promotions.DATABASE]
        self._first_logins = first_logins
        self._session = session
        self._wait_seconds = wait_seconds

    async def check(self, cursor: int, report: Report) -> None:
        """Report each proof, of what the first logins up to the cursor have earned. Raises Difference."""
        for record in await self._campaigns():
            granted = await self._check_campaign(record, cursor)
            withdrawn = await self._check_withdrawals(record.campaign)
            report(Proof(f"campaign “{record.campaign.name}”", _summary(record.campaign, granted, withdrawn)))
        await self._check_strays()
        report(Proof("vouchers", "none outside a campaign, one campaign open at most"))

    async def _campaigns(self) -> list[CampaignRecord]:
        found = self._promotions["campaigns"].find(session=self._session).sort("first_n", 1)
        return [campaign_record_of(document) async for document in found]

    async def _check_campaign(self, record: CampaignRecord, cursor: int) -> int:
        """Recompute the campaign's vouchers and compare them, one by one, with those stored."""
        campaign = record.campaign
        judged = cursor if record.reread_n is None else record.reread_n
        stored = (
            self._promotions["vouchers"]
            .find({"campaign_id": campaign.id}, session=self._session)
            .sort("position", 1)
        )
        granted = 0
        async for page in self._first_logins.pages(campaign.first_n or judged + 1, judged):
            for voucher in award(campaign, campaign.capacity - granted, page):
                granted += 1
                document = await anext(stored, None)
                rules.check_voucher(campaign, voucher, None if document is None else voucher_of(document))
            if granted == campaign.capacity:
                break
        surplus = await anext(stored, None)
        if surplus is not None:
            raise Difference(
                f"campaign “{campaign.name}”: position {surplus['position']} was earned by nobody, "
                f"voucher {surplus['_id']}"
            )
        if record.granted != granted:
            expected = campaign.capacity - granted
            raise Difference(f"campaign “{campaign.name}”: remaining is {record.remaining}, not {expected}")
        await self._wait_for_catch_up(record)
        return granted

    async def _check_withdrawals(self, campaign: Campaign) -> int:
        """See that what was withdrawn is of no use to anybody, and that nothing else is replaced."""
        withdrawn = self._promotions["vouchers"].find(
            {"campaign_id": campaign.id, "withdrawn_at": {"$exists": True}}, session=self._session
        )
        positions = [rules.withdrawn_position(document) async for document in withdrawn.sort("position", 1)]
        rules.check_replacements(campaign, positions)
        return len(positions)

    async def _wait_for_catch_up(self, record: CampaignRecord) -> None:
        """Wait until those who are next in line since positions were added have their vouchers."""
        if record.reread_n is None:
            return
        campaigns, campaign = self._promotions["campaigns"], record.campaign

        async def behind() -> int | None:
            found = await campaigns.find_one({"_id": campaign.id}, {"reread_n": 1})
            return None if found is None else found.get("reread_n")

        n = await until_none(behind, self._wait_seconds)
        if n is not None:
            raise Difference(
                f"campaign “{campaign.name}”: positions were added, but those after first login {n} still wait"
            )

    async def _check_strays(self) -> None:
        campaigns = self._promotions["campaigns"]
        known = [record.campaign.id for record in await self._campaigns()]
        stray = await self._promotions["vouchers"].find_one(
            {"campaign_id": {"$nin": known}}, session=self._session
        )
        if stray is not None:
            raise Difference(f"vouchers: {stray['_id']} belongs to no campaign")
        opened = await campaigns.count_documents({"is_available": 1}, session=self._session)
        if opened > 1:
            raise Difference(f"campaigns: {opened} are open at once")


def _summary(campaign: Campaign, granted: int, withdrawn: int) -> str:
    since = f"; {withdrawn} withdrawn since, {campaign.replacements} replaced" if withdrawn else ""
    return f"{granted} of {campaign.capacity} vouchers, to exactly those who came first, in that order{since}"
