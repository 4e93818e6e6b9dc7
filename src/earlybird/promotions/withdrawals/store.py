"""All MongoDB of withdrawals: each is one transaction with its hold, replacement, event and log entries.

Theory of operation. A withdrawn voucher stays where it is, at its position, with `withdrawn_at` in it and not
available. Whether it is replaced is in the campaign, as the position that was added for it (`Campaign.raises`). So
the winners follow from ledger, campaigns and withdrawals, and a position is never used twice. What may happen:

- The process dies, or the answer is lost: all of it is there or nothing. The same withdrawal again changes nothing
  and gives the same answer. One that asks for a replacement besides adds that, and leaves the rest as it was.
- The owner spends, holds, confirms or gives back at the same time. Both write the voucher's document, so MongoDB
  repeats one of them with what is true then. A voucher that was spent first is not withdrawn.
- The voucher is held. The withdrawal ends the hold, or a bot would keep its voucher by reserving again and again.
  The reservation's state says so, and a later confirmation is refused. (Mutant: "a hold outlives its voucher".)
- A redemption is refunded later. It cannot be: there is none that is redeemed. And whatever turns a voucher asks
  that it is not withdrawn. (Mutant: "what was withdrawn can be spent".)
- First logins are judged at the same time. A replacement holds the cursor, as every change of a campaign does.
- The cache: the service sets BYPASS first, as before every change.
"""

from collections.abc import AsyncIterator
from functools import partial

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.errors import InvariantBroken, Refusal
from earlybird.events import VoucherWithdrawn
from earlybird.history.log import AuditLog, Change
from earlybird.infra.mongo import Database, Document, database_time, in_transaction, outages_as_unavailable
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import campaign_record_of
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.redemptions.store import Clock, RedemptionStore
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.vouchers.store import held_voucher_of
from earlybird.promotions.withdrawals.model import Wanted, Withdrawal, is_to_withdraw


class WithdrawalStore:
    """Withdrawals. `actor` is whom the audit log names. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or partial(database_time, database)
        self._vouchers = database["vouchers"]
        self._campaigns = database["campaigns"]
        self._redemptions = RedemptionStore(database, clock)
        self._terms = CampaignStore(database)
        self._outbox = Outbox(database)
        self._log = AuditLog(database)

    async def find(self, wanted: Wanted) -> Voucher:
        """Return the voucher that is meant. Raises Refusal `voucher_not_found`."""
        async with outages_as_unavailable():
            return held_voucher_of(await self._find(wanted)).voucher

    async def withdraw(self, wanted: Wanted, reason: str, actor: str, *, replace: bool) -> Withdrawal:
        """Withdraw a voucher that is not spent, and make room for the next in line if it is to be replaced.

        Safe to repeat. Raises Refusal `voucher_not_found`, `voucher_already_redeemed`, `too_many_replacements`.
        """

        async def transaction(session: AsyncClientSession) -> Withdrawal:
            now = await self._clock()
            document = await self._find(wanted, session)
            held = held_voucher_of(document)
            if is_to_withdraw(held, now):
                taken = {"withdrawn_at": now, "withdrawn_by": actor, "withdrawn_reason": reason}
                document = await self._take(session, document, taken)
            voucher = held.voucher
            if replace:
                record = await self._terms.add_replacement(session, voucher.campaign_id, voucher.position, actor)
            else:
                found = await self._campaigns.find_one({"_id": voucher.campaign_id}, session=session)
                record = campaign_record_of(found)
            return withdrawal_of(document, record.campaign)

        async with outages_as_unavailable():
            return await in_transaction("withdrawal", self._database, transaction)

    async def find_all(
        self, campaign: Campaign, session: AsyncClientSession | None = None
    ) -> AsyncIterator[Withdrawal]:
        """Yield the withdrawals of a campaign by position, as of the session's moment if there is one.

        The campaign must be of that moment too: it says which of them are replaced.
        """
        query = {"campaign_id": campaign.id, "withdrawn_at": {"$exists": True}}
        async with outages_as_unavailable():
            async for document in self._vouchers.find(query, session=session).sort("position", 1):
                yield withdrawal_of(document, campaign)

    async def _take(self, session: AsyncClientSession, before: Document, taken: Document) -> Document:
        """End the voucher for good: what holds it, the voucher itself; tell the world, and note it."""
        now, actor, voucher = taken["withdrawn_at"], taken["withdrawn_by"], held_voucher_of(before).voucher
        if before.get("held_by") is not None:
            await self._redemptions.end_hold(session, before["held_by"], voucher, actor, now)
        after = {"is_available": 0, "held_by": None, "held_until": None, **taken}
        done = await self._vouchers.update_one(
            {"_id": voucher.id, "is_available": 1, "withdrawn_at": None},
            {"$set": {**after, "updated_at": now}},
            session=session,
        )
        if done.matched_count == 0:
            raise InvariantBroken(f"voucher {voucher.id} changed within one snapshot")
        await self._outbox.add(
            session,
            [
                VoucherWithdrawn(
                    voucher_id=voucher.id,
                    user_id=voucher.user_id,
                    campaign_id=voucher.campaign_id,
                    time=now,
                    position=voucher.position,
                )
            ],
        )
        change = Change.between("voucher.withdrawn", voucher.id, before, after)
        await self._log.record(session, actor, now, [change])
        return {**before, **after}

    async def _find(self, wanted: Wanted, session: AsyncClientSession | None = None) -> Document:
        query = {"campaign_id": wanted.campaign_id, "user_id": wanted.user_id, "_id": wanted.voucher_id}
        query = {name: value for name, value in query.items() if value is not None}
        document = await self._vouchers.find_one(query, session=session)
        if document is None:
            raise Refusal("voucher_not_found", "There is no such voucher in this campaign.")
        return document


async def create_withdrawals(database: Database) -> None:
    """Index the vouchers that were withdrawn, few as they are. A migration; safe to repeat."""
    await database["vouchers"].create_indexes(
        [
            IndexModel(
                [("campaign_id", ASCENDING), ("position", ASCENDING)],
                name="campaign_withdrawn",
                partialFilterExpression={"withdrawn_at": {"$exists": True}},
            )
        ]
    )


def withdrawal_of(voucher: Document, campaign: Campaign) -> Withdrawal:
    """Read a document of `vouchers` that was withdrawn; the campaign says whether it is replaced."""
    return Withdrawal(
        voucher_id=voucher["_id"],
        user_id=voucher["user_id"],
        campaign_id=voucher["campaign_id"],
        position=voucher["position"],
        withdrawn_at=voucher["withdrawn_at"],
        withdrawn_by=voucher["withdrawn_by"],
        reason=voucher["withdrawn_reason"],
        is_replaced=campaign.replaces(voucher["position"]),
    )
