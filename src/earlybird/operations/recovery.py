"""First logins that MongoDB has lost come back from the stream, where NATS outlived it.

After a restore to an older moment, the stream has entries that the ledger has not. They are given the same numbers
again. So they get the same seals, and people's receipts verify. Of an account that is lost too, the id, the number
and what it won come back, as of a person who was erased: nobody can log in to it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pymongo import InsertOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.access.permissions import CUSTOMER
from earlybird.errors import Failure
from earlybird.events import STREAM, FirstLogin, MalformedEvent
from earlybird.history.log import AuditLog, Change
from earlybird.identity import DATABASE
from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, Document, database_time, in_transaction
from earlybird.operations.audit import prove_ledger
from earlybird.promotions.granting.award import Gap
from earlybird.promotions.granting.first_logins import first_logins_from


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the ledger got back: entries `first` to `last`; none if `last` is before `first`."""

    first: int
    last: int
    lost_accounts: int  # of these first logins, how many are of accounts that are lost


async def recover_first_logins(client: Client, jetstream: JetStreamContext, actor: str) -> Recovered:
    """Append to the ledger what the stream has beyond it. Neither a relay nor an identity may run.

    Everything is looked at before anything is written. It may be cut short anywhere and run again. Raises
    Difference for a ledger that is not sound, Failure for a stream that is not of this ledger.
    """
    ledger, n = Ledger(client[DATABASE]), await prove_ledger(client, jetstream, is_judged=False)
    end = await _end(jetstream)
    if end <= n:
        return Recovered(n + 1, n, 0)
    lost = {user async for batch in _read(jetstream, n + 1, end) for user in await _check(client, n, batch)}
    await _check_agreement(ledger, jetstream, n, knows_somebody=len(lost) < end - n)
    await ledger.forget_place()
    appended = n
    async for batch in _read(jetstream, n + 1, end):
        await _mark(client, batch, lost, actor)
        committed = [FirstLoginCommitted(one.user_id, one.first_login_at, one.traceparent) for one in batch]
        appended = await ledger.append(appended, committed)
        if appended != batch[-1].n:
            raise Failure(f"the stream has somebody twice, up to message {batch[-1].n}: restore a backup")
    return Recovered(n + 1, appended, len(lost))


async def _end(jetstream: JetStreamContext) -> int:
    try:
        return int((await jetstream.stream_info(STREAM)).state.last_seq)
    except NotFoundError:
        raise Failure(f"there is no stream {STREAM}: NATS knows nothing that could be brought back") from None


async def _read(jetstream: JetStreamContext, first: int, last: int) -> AsyncIterator[Sequence[FirstLogin]]:
    """Read these messages, batch after batch. Raises Failure for what is no entry."""
    if first > last:
        return
    try:
        async with first_logins_from(jetstream, first) as messages:
            while first <= last:
                batch = [one for one in await messages.next_batch() if one.n <= last]
                if not batch or batch[0].n != first or batch[-1].n != first + len(batch) - 1:
                    raise Failure(f"the stream lacks message {first}, or does not hand it over")
                yield batch
                first = batch[-1].n + 1
    except (Gap, MalformedEvent) as error:
        raise Failure(f"the stream is not of this ledger: {error}") from None


async def _check(client: Client, n: int, batch: Sequence[FirstLogin]) -> set[UUID]:
    """Return whose accounts are lost. Raises Failure where an account or the ledger says otherwise."""
    ids = [one.user_id for one in batch]
    entered = await client[DATABASE]["ledger"].find_one({"user_id": {"$in": ids}})
    if entered is not None:
        raise Failure(f"the stream is not of this ledger: entry {entered['_id']} has a number beyond {n} there")
    users: dict[UUID, datetime | None] = {
        user["_id"]: user.get("first_login_at")
        async for user in client[DATABASE]["users"].find({"_id": {"$in": ids}}, {"first_login_at": 1})
    }
    for one in batch:
        if users.get(one.user_id) not in {None, one.first_login_at}:
            raise Failure(f"the stream is not of this ledger: message {one.n} is dated otherwise than its user")
    return set(ids) - users.keys()


async def _check_agreement(ledger: Ledger, jetstream: JetStreamContext, n: int, *, knows_somebody: bool) -> None:
    """See that the stream goes on from this ledger. An empty ledger must at least have somebody's account."""
    entry = await ledger.find(n)
    if entry is None and not knows_somebody:
        raise Failure("the stream is not of this ledger: there is no account of anybody in it")
    if entry is not None and not entry.is_told_by((await jetstream.get_msg(STREAM, n)).data):
        raise Failure(f"the stream is not of this ledger: message {n} is not entry {n}")


async def _mark(client: Client, batch: Sequence[FirstLogin], lost: set[UUID], actor: str) -> None:
    """Note these first logins with their users, in one transaction. Safe to repeat."""
    database = client[DATABASE]
    now = await database_time(database)

    async def transaction(session: AsyncClientSession) -> None:
        here = await database["users"].distinct("_id", {"_id": {"$in": [one.user_id for one in batch]}}, session)
        gone = [one for one in batch if one.user_id in lost.difference(here)]
        changes: list[Any] = [InsertOne(_lost_account(one, now)) for one in gone]
        changes += [
            UpdateOne(
                {"_id": one.user_id, "is_first_login": 1},
                {"$set": {"is_first_login": 0, "first_login_at": one.first_login_at, "updated_at": now}},
            )
            for one in batch
            if one.user_id not in lost
        ]
        if changes:
            await database["users"].bulk_write(changes, session=session)
        entries = [Change("account.lost", one.user_id, None, None) for one in gone]
        await AuditLog(database).record(session, actor, now, entries)

    await in_transaction("account", database, transaction)


def _lost_account(entry: FirstLogin, now: datetime) -> Document:
    """Return what stands for an account that is lost, as for one that was erased: nobody can log in to it."""
    return {
        "_id": entry.user_id,
        **dict.fromkeys(("username", "email", "phone"), f"lost:{entry.user_id}"),  # unique, and no such form
        "is_active": 0,
        "is_first_login": 0,
        "first_login_at": entry.first_login_at,
        "roles": [CUSTOMER],
        "created_at": entry.first_login_at,  # it was made before; nobody knows when
        "updated_at": now,
        "erased_at": now,
    }
