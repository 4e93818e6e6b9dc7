"""All MongoDB of redemptions: each change is one transaction with its voucher, its event and its log entry.

Theory of operation. A redemption is one attempt to spend one voucher on one order. Redemption and voucher say the
same thing twice: a voucher is available exactly when no redemption of it is redeemed and it was not withdrawn, and
it is held by the reservation that is reserved. So both change in one transaction, together with the event in the
outbox, the entry in the audit log and, for a new redemption, the answer under its idempotency key. What may happen
at each await:

- The process dies, or MongoDB changes its primary: all of the transaction is there or nothing. The client asks
  again under the same key, and gets the answer that is noted, or causes the effect now. (Crash points:
  `tests/integration/test_crashes.py`. Mutant: "a key is forgotten".)
- The same request arrives twice at the same time: both insert the key, and MongoDB refuses the second as a write
  conflict. It is answered 409 `request_in_flight`, and may be sent again.
- Two requests want the same voucher: the transactions conflict on the voucher's document. MongoDB aborts one of
  them, and it begins again with what is true then. A unique index allows one redeemed redemption of a voucher at
  most.
- A hold lapses, by the clock alone; nothing is written for it. Another redemption may take the voucher then. So
  every step that depends on a hold names the holder in its filter. (Mutant: "whose hold it is does not matter".)
- The clock is the database's, the same for all processes. It may be set back at a failover. The filter decides
  then.
- The outcome of a commit is unknown: the driver asks for it again. Confirm, release and refund depend on the state
  alone, so they can be repeated for ever.
- The cache: the service sets BYPASS before each of these transactions, so that no reader shows an older voucher
  after.

Invariants 6 and 7 of ARCHITECTURE.md are made here, checked here where they are written, and proven by the audit.
`tests/integration/test_redemption_machine.py` tries all of it in any order, on the real database.
"""

from collections.abc import Awaitable, Callable, Mapping
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
from earlybird.life import next_state
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.redemptions import model as rules
from earlybird.promotions.redemptions.idempotency import IdempotencyKeys
from earlybird.promotions.redemptions.model import Order, Redemption, RedemptionEvent, RedemptionState
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.vouchers.store import held_voucher_of, voucher_of

_FIELDS = [field.name for field in fields(Redemption) if field.name not in {"id", "state"}]
T = TypeVar("T")
# Of transactions per process. With a hundred at once on a machine short of CPU each took longer than MongoDB lets
# a transaction live (3 s), and was made again and again: after a fault nothing was redeemed for a minute.
_AT_ONCE = 8
_WAIT_SECONDS = 2.0
Clock = Callable[[], Awaitable[datetime]]
# As which the voucher must be found for an event of this redemption.
_EXPECTED: Mapping[RedemptionEvent, Callable[[UUID], Document]] = {
    RedemptionEvent.CONFIRM: lambda redemption_id: {"held_by": redemption_id},
    RedemptionEvent.RELEASE: lambda redemption_id: {"held_by": redemption_id},
    RedemptionEvent.REFUND: lambda _: {"is_available": 0},
}


class RedemptionStore:
    """Redemptions. All that decides is read and written on the primary. Every method raises Unavailable."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
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

        The same request under the same key gets the same answer, refusals too. Raises Refusal (see
        model.choose_voucher, model.begun, IdempotencyKeys.claim).
        """
        request = rules.fingerprint(order, reserve=reserve)

        async def transaction(session: AsyncClientSession) -> Document:
            now = await self._clock()
            known = await self._keys.claim(session, user_id, key, request, now)
            if known is not None:
                return known
            crash_point("redemption.key_claimed")
            outcome = await self._outcome(session, user_id, order, now, reserve=reserve)
            await self._keys.settle(session, user_id, key, outcome)
            return outcome

        outcome = await self._in_transaction(transaction)
        if "refusal" in outcome:
            raise Refusal(**outcome["refusal"])
        return redemption_of(outcome["redemption"])

    async def quote(self, user_id: UUID, order: Order) -> Redemption:
        """Return what spending the user's voucher on an order would come to now; write nothing.

        Raises Refusal (see model.choose_voucher, model.begun).
        """
        async with self._bulkhead.place(), outages_as_unavailable():
            now = await self._clock()
            held = [held_voucher_of(one) async for one in self._vouchers.find({"user_id": user_id})]
        return rules.begun(uuid7(), rules.choose_voucher(held, now), order, now, reserve=False)

    async def settle(
        self, redemption_id: UUID, event: RedemptionEvent, actor: UUID, *, owner: UUID | None
    ) -> Redemption:
        """Confirm or release a reservation, or refund a redemption. Safe to repeat.

        With an `owner`, only if it is that user's. Raises Refusal `reservation_not_found`, `redemption_not_found`
        (see also model.LIFE).
        """

        async def transaction(session: AsyncClientSession) -> Redemption:
            now = await self._clock()
            old = await self._find(redemption_id, event, owner, session)
            document = await self._vouchers.find_one({"_id": old.voucher_id}, session=session)
            if document is None:
                raise InvariantBroken(f"redemption {old.id} is of no voucher")
            new = rules.settled(old, event, voucher_of(document), now)
            if new == old:
                return old
            change = await self._turn_voucher(session, new, _EXPECTED[event](old.id), now)
            if change is None and event is RedemptionEvent.CONFIRM:
                # Another redemption holds it, though by the clock it is ours: the clock was set back.
                next_state(rules.LIFE, RedemptionState.LAPSED, event)
            if change is None and event is RedemptionEvent.REFUND:
                # Invariant 6. Seen to matter by the mutant "a refund refunds anything".
                raise InvariantBroken(f"redemption {old.id} is of a voucher that is not spent")
            # The voucher of a reservation that lapsed may be held by, or spent on, something else: leave it.
            return await self._save(session, actor, old, new, change, now)

        return await self._in_transaction(transaction)

    async def end_hold(
        self, session: AsyncClientSession, redemption_id: UUID, voucher: Voucher, actor: str, now: datetime
    ) -> None:
        """End the reservation that holds a voucher, within the transaction that withdraws the voucher."""
        document = await self._redemptions.find_one({"_id": redemption_id}, session=session)
        if document is None:
            raise InvariantBroken(f"voucher {voucher.id} is held by no reservation")
        old = redemption_of(document)
        new = rules.settled(old, RedemptionEvent.WITHDRAW, voucher, now)
        if new != old:
            await self._save(session, actor, old, new, None, now)

    async def find_owner(self, redemption_id: UUID) -> UUID:
        """Return whose redemption this is. Raises Refusal `redemption_not_found`."""
        async with outages_as_unavailable():
            return (await self._find(redemption_id, RedemptionEvent.REFUND, None)).user_id

    async def _outcome(
        self, session: AsyncClientSession, user_id: UUID, order: Order, now: datetime, *, reserve: bool
    ) -> Document:
        """Spend or hold the voucher, and return what is noted under the key: the redemption, or the refusal."""
        held = [held_voucher_of(one) async for one in self._vouchers.find({"user_id": user_id}, session=session)]
        try:
            new = rules.begun(uuid7(), rules.choose_voucher(held, now), order, now, reserve=reserve)
        except Refusal as refusal:
            return {"refusal": {"code": refusal.code, "message": refusal.message}}
        change = await self._turn_voucher(session, new, {"is_available": 1}, now)
        if change is None:
            raise InvariantBroken(f"voucher {new.voucher_id} changed within one snapshot")
        await self._save(session, user_id, None, new, change, now)
        return {"redemption": _document(new)}

    async def _turn_voucher(
        self, session: AsyncClientSession, new: Redemption, expected: Document, now: datetime
    ) -> Change | None:
        """Bring the voucher in line with its redemption; None, changing nothing, if it is not as `expected`.

        It is available exactly when no redemption of it is redeemed, and held by the reservation that is reserved.
        One that was withdrawn is never turned again.
        """
        spent, held = new.state is RedemptionState.REDEEMED, new.state is RedemptionState.RESERVED
        after: Document = {
            "is_available": int(not spent),
            "held_by": new.id if held else None,
            "held_until": new.reserved_until if held else None,
        }
        before = await self._vouchers.find_one_and_update(
            {"_id": new.voucher_id, "withdrawn_at": None, **expected},
            {"$set": {**after, "updated_at": now}},
            session=session,
        )
        if before is None:
            return None
        action = "voucher.redeemed" if spent else "voucher.reserved" if held else "voucher.returned"
        return Change.between(action, new.voucher_id, before, after)

    async def _save(
        self,
        session: AsyncClientSession,
        actor: UUID | str,
        old: Redemption | None,
        new: Redemption,
        turned: Change | None,
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
        await self._log.record(session, str(actor), now, [change] if turned is None else [turned, change])
        return new

    async def _find(
        self,
        redemption_id: UUID,
        event: RedemptionEvent,
        owner: UUID | None,
        session: AsyncClientSession | None = None,
    ) -> Redemption:
        owned = {} if owner is None else {"user_id": owner}
        document = await self._redemptions.find_one({"_id": redemption_id, **owned}, session=session)
        if document is None:
            kind = "redemption" if event is RedemptionEvent.REFUND else "reservation"
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
