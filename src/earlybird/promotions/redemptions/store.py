"""All MongoDB of redemptions: each change is one transaction with its voucher, its event and its log entry."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from uuid_utils.compat import uuid7

from earlybird.errors import InvariantBroken, Refusal
from earlybird.events import VoucherEvent, VoucherRedeemed, VoucherRefunded
from earlybird.history.log import AuditLog, Change
from earlybird.infra.bulkhead import Bulkhead
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Database, Document, database_time, in_transaction, outages_as_unavailable
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.redemptions import model as rules
from earlybird.promotions.redemptions.idempotency import IdempotencyKeys
from earlybird.promotions.redemptions.model import Order, Redemption, RedemptionState
from earlybird.promotions.vouchers.store import held_voucher_of, voucher_of

_FIELDS = [field.name for field in fields(Redemption) if field.name not in {"id", "state"}]
T = TypeVar("T")
# Of transactions per process. With a hundred at once on a machine short of CPU each took longer than MongoDB lets
# a transaction live (3 s), and was made again and again: after a fault nothing was redeemed for a minute.
_AT_ONCE = 8
_WAIT_SECONDS = 2.0
Clock = Callable[[], Awaitable[datetime]]


class RedemptionStore:
    """Redemptions. All that decides is read and written on the primary. Every method raises Unavailable."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        """Keep them in this database, and go by its clock, the same for every process, unless given another."""
        self._database = database
        self._clock = clock or partial(database_time, database)
        self._vouchers = database["vouchers"]
        self._redemptions = database["redemptions"]
        self._keys = IdempotencyKeys(database)
        self._outbox = Outbox(database)
        self._log = AuditLog(database)
        self._bulkhead = Bulkhead(_AT_ONCE, _WAIT_SECONDS)

    async def spend(self, user_id: UUID, key: str, order: Order, *, reserve: bool) -> Redemption:
        """Spend the user's voucher on an order, or `reserve` it for that; once per idempotency key.

        The same request under the same key gives the same again, refusals too. Raises Refusal (see
        redemption.choose_voucher, redemption.spend, IdempotencyKeys.claim).
        """
        request = f"{'reserve' if reserve else 'redeem'}\n{order.order_id}\n{order.amount}\n{order.currency}"
        fingerprint = hashlib.sha256(request.encode()).digest()

        async def transaction(session: AsyncClientSession) -> Redemption | Refusal:
            now = await self._clock()
            known = await self._keys.claim(session, user_id, key, fingerprint, now)
            if known is not None:
                return _outcome(known)
            crash_point("redemption.key_claimed")
            outcome = await self._spend(session, user_id, order, now, reserve=reserve)
            await self._keys.settle(session, user_id, key, _outcome_document(outcome))
            return outcome

        outcome = await self._in_transaction(transaction)
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def confirm(self, user_id: UUID, redemption_id: UUID) -> Redemption:
        """Turn the user's reservation into a redemption. Safe to repeat.

        Raises Refusal `reservation_not_found` (see also redemption.confirmed).
        """

        async def transaction(session: AsyncClientSession) -> Redemption:
            now = await self._clock()
            old = await self._find(session, {"_id": redemption_id, "user_id": user_id}, "reservation")
            new = rules.confirmed(old, now)
            if new == old:
                return old
            # Held by another, though the clock says that it is ours: the clock has been set back.
            voucher = await self._turn_voucher(session, new, {"held_by": old.id}, spent=True, now=now)
            if voucher is None:
                raise Refusal(
                    "reservation_expired", "This reservation's time is over; the voucher was given back."
                )
            return await self._save(session, user_id, old, new, voucher, now)

        return await self._in_transaction(transaction)

    async def release(self, user_id: UUID, redemption_id: UUID) -> Redemption:
        """Give the voucher of the user's reservation back. Safe to repeat.

        Raises Refusal `reservation_not_found`, `reservation_confirmed`.
        """

        async def transaction(session: AsyncClientSession) -> Redemption:
            now = await self._clock()
            old = await self._find(session, {"_id": redemption_id, "user_id": user_id}, "reservation")
            new = rules.released(old, now)
            if new == old:
                return old
            # If the reservation lapsed, the voucher may be held by, or spent on, something else: leave it.
            voucher = await self._turn_voucher(session, new, {"held_by": old.id}, spent=False, now=now)
            return await self._save(session, user_id, old, new, voucher, now)

        return await self._in_transaction(transaction)

    async def refund(self, redemption_id: UUID, actor: UUID, *, owner: UUID | None) -> Redemption:
        """Take a redemption back; its voucher can be used again unless it has expired. Safe to repeat.

        With an `owner`, only if it is that user's. Raises Refusal `redemption_not_found`.
        """
        owned = {} if owner is None else {"user_id": owner}

        async def transaction(session: AsyncClientSession) -> Redemption:
            now = await self._clock()
            old = await self._find(session, {"_id": redemption_id, **owned}, "redemption")
            document = await self._vouchers.find_one({"_id": old.voucher_id}, session=session)
            if document is None:
                raise InvariantBroken(f"redemption {old.id} is of no voucher")
            new = rules.refunded(old, voucher_of(document), now)
            if new == old:
                return old
            voucher = await self._turn_voucher(session, new, {"is_available": 0}, spent=False, now=now)
            if voucher is None:
                raise InvariantBroken(f"redemption {old.id} is of a voucher that is not spent")
            return await self._save(session, actor, old, new, voucher, now)

        return await self._in_transaction(transaction)

    async def _spend(
        self, session: AsyncClientSession, user_id: UUID, order: Order, now: datetime, *, reserve: bool
    ) -> Redemption | Refusal:
        held = [held_voucher_of(one) async for one in self._vouchers.find({"user_id": user_id}, session=session)]
        try:
            new = rules.spend(uuid7(), rules.choose_voucher(held, now), order, now, reserve=reserve)
        except Refusal as refusal:
            return refusal
        voucher = await self._turn_voucher(session, new, {"is_available": 1}, spent=not reserve, now=now)
        if voucher is None:
            raise InvariantBroken(f"voucher {new.voucher_id} changed within one snapshot")
        return await self._save(session, user_id, None, new, voucher, now)

    async def _turn_voucher(
        self, session: AsyncClientSession, new: Redemption, expected: Document, *, spent: bool, now: datetime
    ) -> Change | None:
        """Bring the voucher in line with its redemption; None, changing nothing, if it is not as `expected`."""
        held = new.state is RedemptionState.RESERVED
        after: Document = {
            "is_available": int(not spent),
            "held_by": new.id if held else None,
            "held_until": new.reserved_until if held else None,
        }
        before = await self._vouchers.find_one_and_update(
            {"_id": new.voucher_id, **expected}, {"$set": {**after, "updated_at": now}}, session=session
        )
        if before is None:
            return None
        action = "voucher.redeemed" if spent else "voucher.reserved" if held else "voucher.returned"
        return Change.between(action, new.voucher_id, before, after)

    async def _save(
        self,
        session: AsyncClientSession,
        actor: UUID,
        old: Redemption | None,
        new: Redemption,
        voucher: Change | None,
        now: datetime,
    ) -> Redemption:
        crash_point("redemption.voucher_turned")
        await self._redemptions.replace_one({"_id": new.id}, _document(new), upsert=True, session=session)
        await self._outbox.add(session, _events(new, now))
        action = f"redemption.{new.state}"
        after = asdict(new)
        change = (
            Change(action, new.id, None, after)
            if old is None
            else Change.between(action, new.id, asdict(old), after)
        )
        await self._log.record(session, str(actor), now, [change] if voucher is None else [voucher, change])
        return new

    async def _find(self, session: AsyncClientSession, query: Document, kind: str) -> Redemption:
        document = await self._redemptions.find_one(query, session=session)
        if document is None:
            raise Refusal(f"{kind}_not_found", f"You have no such {kind}.")
        return redemption_of(document)

    async def _in_transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        async with self._bulkhead.place(), outages_as_unavailable():
            return await in_transaction("redemption", self._database, work)


async def create_redemptions(database: Database) -> None:
    """Index redemptions; a voucher has one that is redeemed, at most. A migration; safe to repeat."""
    await database["redemptions"].create_indexes(
        [
            IndexModel("voucher_id", name="voucher"),
            IndexModel(
                "voucher_id",
                name="one_redeemed",
                unique=True,
                partialFilterExpression={"state": RedemptionState.REDEEMED.value},
            ),
        ]
    )


def redemption_of(document: Document) -> Redemption:
    """Read a document of the collection `redemptions`."""
    state = RedemptionState(document["state"])
    return Redemption(id=document["_id"], state=state, **{name: document[name] for name in _FIELDS})


def _document(redemption: Redemption) -> Document:
    values = asdict(redemption)
    return {"_id": values.pop("id"), **values, "state": redemption.state.value}


def _outcome_document(outcome: Redemption | Refusal) -> Document:
    if isinstance(outcome, Refusal):
        return {"refusal": {"code": outcome.code, "message": outcome.message}}
    return {"redemption": _document(outcome)}


def _outcome(document: Document) -> Redemption | Refusal:
    if "refusal" in document:
        return Refusal(**document["refusal"])
    return redemption_of(document["redemption"])


def _events(redemption: Redemption, now: datetime) -> list[VoucherEvent]:
    kinds = {RedemptionState.REDEEMED: VoucherRedeemed, RedemptionState.REFUNDED: VoucherRefunded}
    kind = kinds.get(redemption.state)
    if kind is None:
        return []
    terms = ("order_id", "amount", "discount_amount", "payable_amount", "currency")
    data = {name: getattr(redemption, name) for name in ("voucher_id", "user_id", "campaign_id", *terms)}
    if kind is VoucherRefunded:
        data["voucher_returned"] = redemption.voucher_returned
    return [kind(redemption_id=redemption.id, time=now, **data)]
