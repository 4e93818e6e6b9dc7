"""Writes the list of a campaign, as of one moment. It has nothing personal: commitments, times and numbers."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from joserfc.jwk import OKPKey
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird import identity, promotions
from earlybird.errors import Failure
from earlybird.identity.ledger.receipts import SEAL_TYPE, signed
from earlybird.identity.ledger.seals import FIRST_SEAL, PublicEntry, next_seal, public_entry
from earlybird.identity.ledger.store import Ledger, first_login
from earlybird.infra.mongo import Client
from earlybird.operations.published.list_file import Head, PublishedCampaign, Withdrawal, entry_line, line
from earlybird.promotions.campaigns.records import campaign_record_of
from earlybird.promotions.withdrawals.store import WithdrawalStore


class Publisher:
    """Publishes from this deployment. Raises Failure where what is stored does not fit together."""

    def __init__(self, client: Client, key: OKPKey, issuer: str) -> None:
        self._identity = client[identity.DATABASE]
        self._promotions = client[promotions.DATABASE]
        self._client = client
        self._key = key
        self._issuer = issuer

    async def publish(self, campaign_id: UUID, path: Path) -> Head:
        """Write the list to a new file, mode 0644. An older file is replaced once the new one is whole."""
        draft = path.with_name(f".{path.name}.draft")
        try:
            async with self._client.start_session(snapshot=True) as session:
                head = await self._head(campaign_id, session)
                with draft.open("w", encoding="utf-8") as file:
                    file.write(line(head.model_dump(mode="json")))
                    async for entry in self._entries(head.campaign.first_n, head.last_n, session):
                        file.write(entry_line(entry))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return head

    async def _head(self, campaign_id: UUID, session: AsyncClientSession) -> Head:
        document = await self._promotions["campaigns"].find_one({"_id": campaign_id}, session=session)
        stored = campaign_record_of(document).campaign
        campaign = PublishedCampaign.of(stored)
        vouchers = self._promotions["vouchers"].find({"campaign_id": campaign_id}, session=session)
        winners = [(one["position"], one["first_login_n"]) async for one in vouchers.sort("position", 1)]
        run = await self._promotions["places"].find_one(
            {"campaign_id": campaign_id}, sort=[("first_n", -1)], session=session
        )
        last_n = max([campaign.first_n - 1, *([run["last_n"]] if run else []), *(n for _, n in winners[-1:])])
        return Head(
            campaign=campaign,
            withdrawals=[
                Withdrawal(position=one.position, at=one.withdrawn_at, replaced=one.is_replaced)
                async for one in WithdrawalStore(self._promotions).find_all(stored, session)
            ],
            winners=winners,
            seal_before=(await self._seal(campaign.first_n - 1, session)).hex(),
            last_n=last_n,
            seal=signed(
                self._key,
                SEAL_TYPE,
                {"iss": self._issuer, "n": last_n, "seal": (await self._seal(last_n, session)).hex()},
            ),
            key=dict(self._key.as_dict(private=False)),
        )

    async def _seal(self, n: int, session: AsyncClientSession) -> bytes:
        if n == 0:
            return FIRST_SEAL
        entry = await self._identity["ledger"].find_one({"_id": n}, session=session)
        if entry is None or "seal" not in entry:
            raise Failure(f"entry {n} of the ledger has no seal: earlybird audit says what is wrong")
        return bytes(entry["seal"])

    async def _entries(self, first_n: int, last_n: int, session: AsyncClientSession) -> AsyncIterator[PublicEntry]:
        secret, seal = await Ledger(self._identity).secret(), await self._seal(first_n - 1, session)
        found = self._identity["ledger"].find({"_id": {"$gte": first_n, "$lte": last_n}}, session=session)
        async for document in found.sort("_id", 1):
            entry = public_entry(secret, first_login(document))
            seal = next_seal(seal, entry)
            if seal != document.get("seal"):
                raise Failure(f"the seal of entry {entry.n} does not fit: earlybird audit says what is wrong")
            yield entry
