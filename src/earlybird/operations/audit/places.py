"""Are the places right: everybody's number among those that a campaign counted, recomputed one by one."""

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import promotions
from earlybird.infra.mongo import Client
from earlybird.operations.audit.findings import Difference, Proof, Report
from earlybird.operations.audit.first_logins import FirstLoginAudit
from earlybird.promotions.campaigns.records import campaign_of
from earlybird.promotions.places.model import Run, runs_after
from earlybird.promotions.places.store import run_of


class PlaceAudit:
    """Checks the places of all campaigns."""

    def __init__(self, client: Client, first_logins: FirstLoginAudit, session: AsyncClientSession) -> None:
        self._promotions = client[promotions.DATABASE]
        self._first_logins = first_logins
        self._session = session

    async def check(self, cursor: int, report: Report) -> None:
        """Report the proof. Raises Difference."""
        known = await self._promotions["places"].find_one({"_id": "cursor"}, session=self._session)
        placed = 0 if known is None else int(known["n"])
        if placed > cursor:
            raise Difference(f"places: those of {placed} first logins are known, and only {cursor} are judged")
        expected = await self._recomputed(placed)
        stored = self._promotions["places"].find({"first_n": {"$gt": 0}}, session=self._session).sort("first_n", 1)
        for run in expected:
            document = await anext(stored, None)
            found = None if document is None else run_of(document)
            if found != run:
                raise Difference(
                    f"places: entry {run.first_n} has place {run.first_place}, not as stored: {found}"
                )
        surplus = await anext(stored, None)
        if surplus is not None:
            raise Difference(f"places: entry {surplus['first_n']} begins a run, and no campaign counted it")
        report(Proof("places", "everybody's place that is noted is the one in which the campaign counted them"))

    async def _recomputed(self, placed: int) -> list[Run]:
        found = (
            await self._promotions["campaigns"].find({"first_n": {"$ne": None}}, session=self._session).to_list()
        )
        campaigns = [campaign_of(document) for document in found]
        runs: dict[object, list[Run]] = {campaign.id: [] for campaign in campaigns}
        async for page in self._first_logins.pages(1, placed):
            for campaign in campaigns:
                so_far = runs[campaign.id]
                last = so_far.pop() if so_far else None
                so_far += runs_after(last, campaign, page)
        return sorted((run for each in runs.values() for run in each), key=lambda run: run.first_n)
