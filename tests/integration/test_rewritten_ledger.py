"""The databases are rewritten so that the audit finds nothing: a receipt or an older seal gives it away."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from joserfc.jwk import OKPKey
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged, until_placed
from redis.asyncio import Redis
from workers import workers

from earlybird.errors import Failure
from earlybird.events import STREAM, FirstLogin
from earlybird.identity.ledger.receipts import Receipts
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit
from earlybird.operations.places import find_place
from earlybird.operations.published.publishing import Publisher
from earlybird.operations.published.verifying import verify
from earlybird.promotions.withdrawals.model import Wanted
from earlybird.promotions.withdrawals.store import WithdrawalStore

Line = list[tuple[UUID, datetime]]  # who came, and when
KEY = OKPKey.generate_key("Ed25519")
PEOPLE, WINNERS, STRANGERS = 8, 3, 4
MOMENT = timedelta(milliseconds=1)


def exchange_two(line: Line, _: list[UUID]) -> Line:
    (one, at), (other, later) = line[1], line[4]
    return [line[0], (other, at), *line[2:4], (one, later), *line[5:]]


def bring_the_last_to_the_front(line: Line, _: list[UUID]) -> Line:
    return [(line[-1][0], line[0][1] - MOMENT), *line[:-1]]


def leave_somebody_out(line: Line, _: list[UUID]) -> Line:
    return line[:1] + line[2:]


def put_a_stranger_first(line: Line, strangers: list[UUID]) -> Line:
    return [(strangers[0], line[0][1] - MOMENT), *line]


def put_a_stranger_in_a_winners_place(line: Line, strangers: list[UUID]) -> Line:
    return [*line[:2], (strangers[0], line[2][1]), *line[3:]]


def date_somebody_otherwise(line: Line, _: list[UUID]) -> Line:
    return [*line[:4], (line[4][0], line[4][1] + MOMENT), *line[5:]]


def date_a_winner_before_the_campaign(line: Line, _: list[UUID]) -> Line:
    return [(line[0][0], line[0][1] - timedelta(hours=1)), *line[1:]]


def turn_the_line_round(line: Line, _: list[UUID]) -> Line:
    return [(user, at) for (user, _), (_, at) in zip(reversed(line), line, strict=True)]


def replace_all_but_the_last(line: Line, strangers: list[UUID]) -> Line:
    return [(user, at) for user, (_, at) in zip(strangers, line, strict=False)] + line[len(strangers) :]


def change_nothing(line: Line, _: list[UUID]) -> Line:
    """And take another secret: all commitments are others."""
    return line


REWRITES: tuple[Callable[[Line, list[UUID]], Line], ...] = (
    exchange_two, bring_the_last_to_the_front, leave_somebody_out, put_a_stranger_first, change_nothing,
    put_a_stranger_in_a_winners_place, date_somebody_otherwise, date_a_winner_before_the_campaign,
    turn_the_line_round, replace_all_but_the_last,
)  # fmt: skip


@dataclass
class Deployment:
    """A campaign that is sold out, and what people kept of it."""

    mongo: Client
    broker: NatsClient
    valkey: Redis
    campaign_id: UUID
    strangers: list[UUID]
    folder: Path
    receipts: list[str]
    seal: str  # of the newest entry, published then

    async def line(self) -> Line:
        found = self.mongo["identity"]["ledger"].find().sort("_id", 1)
        return [(entry["user_id"], entry["first_login_at"]) async for entry in found]

    async def rewrite(self, line: Line, secret: bytes) -> None:
        """Put this line everywhere, sealed anew, and let our own workers compute the rest from it."""
        entries = [FirstLogin(n, user, at) for n, (user, at) in enumerate(line, start=1)]
        seals = seal_each(secret, FIRST_SEAL, entries)
        identity, promotions = self.mongo["identity"], self.mongo["promotions"]
        await identity["users"].update_many({}, {"$set": {"is_first_login": 1}, "$unset": {"first_login_at": ""}})
        for entry in entries:
            came = {"$set": {"is_first_login": 0, "first_login_at": entry.first_login_at}}
            await identity["users"].update_one({"_id": entry.user_id}, came)
        await identity["ledger"].delete_many({})
        await identity["ledger"].insert_many(
            [
                {"_id": one.n, "user_id": one.user_id, "first_login_at": one.first_login_at, "seal": seal}
                for one, seal in zip(entries, seals, strict=True)
            ]
        )
        await identity["head"].update_one({"_id": "head"}, {"$set": {"n": len(entries)}})
        await identity["head"].update_one({"_id": "seals"}, {"$set": {"secret": secret}})
        for name in ("vouchers", "outbox", "places"):
            await promotions[name].delete_many({})
        await promotions["audit_log"].delete_many({"action": "voucher.granted"})
        await promotions["campaigns"].update_one({}, {"$set": {"remaining_promotion": WINNERS}})
        await promotions["cursor"].update_one(
            {"_id": "first-logins"}, {"$set": {"n": 0}, "$unset": {"latest_first_login_at": ""}}
        )
        await self.broker.jetstream().delete_stream(STREAM)
        await self.settle(len(entries))

    async def settle(self, count: int) -> None:
        async with workers(self.mongo, self.broker, self.valkey):
            await until_judged(self.mongo, count)
            await until_placed(self.mongo, count)

    async def publish(self) -> Path:
        path = self.folder / "list.jsonl"
        await Publisher(self.mongo, KEY, "earlybird").publish(self.campaign_id, path)
        return path


@pytest.fixture
async def deployment(mongo: Client, broker: NatsClient, valkey: Redis, tmp_path: Path) -> Deployment:
    users = await add_users(mongo, PEOPLE + STRANGERS)
    campaign_id = await open_campaign(mongo, WINNERS)
    made = Deployment(mongo, broker, valkey, campaign_id, users[PEOPLE:], tmp_path, [], "")
    for user in users[:PEOPLE]:
        await log_in_first(mongo, [user])
        await asyncio.sleep(0.002)  # times that differ
    await made.settle(PEOPLE)
    receipts = Receipts(Ledger(mongo["identity"]), KEY, "earlybird")
    found = [await receipts.find(user) for user in users[:PEOPLE]]
    made.receipts = [one.jws for one in found if one is not None]
    made.seal = (await receipts.latest()).jws
    return made


async def test_what_was_not_rewritten_verifies(deployment: Deployment) -> None:
    found = verify(await deployment.publish(), [*deployment.receipts, deployment.seal])
    assert [(one.place, one.has_won) for one in found.checked if one.signed.is_receipt] == [
        (place, place <= WINNERS) for place in range(1, PEOPLE + 1)
    ]
    assert len(found.checked) == PEOPLE + 1


async def test_a_list_with_withdrawals_and_replacements_verifies(deployment: Deployment) -> None:
    mongo, store = deployment.mongo, WithdrawalStore(deployment.mongo["promotions"])
    users = [user for user, _ in await deployment.line()]
    async with workers(mongo, deployment.broker, deployment.valkey):
        await store.withdraw(Wanted(deployment.campaign_id, users[0]), "a bot", "test", replace=True)
        await store.withdraw(Wanted(deployment.campaign_id, users[2]), "a second account", "test", replace=False)
        await until(mongo, "vouchers", {"position": WINNERS + 1})
    found = verify(await deployment.publish(), deployment.receipts)
    assert [(one.position, one.replaced) for one in found.head.withdrawals] == [(1, True), (3, False)]
    assert [one.has_won for one in found.checked] == [True] * 4 + [False] * 4
    shown = [await find_place(mongo, f"user-{i}", "VN") for i in (0, 1, 3, 4)]
    assert [(one["place"], one["has_won"], one["is_withdrawn"]) for one in shown] == [
        (1, True, True),
        (2, True, False),
        (4, True, False),
        (5, False, False),
    ]
    head = (await deployment.publish()).read_text().splitlines()
    without = json.loads(head[0]) | {"withdrawals": []}
    (deployment.folder / "list.jsonl").write_text("\n".join([json.dumps(without), *head[1:]]) + "\n")
    with pytest.raises(Failure, match="3 first logins won, the list names 4"):
        verify(deployment.folder / "list.jsonl")


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.__name__)
async def test_a_rewritten_ledger_passes_the_audit_and_contradicts_a_receipt_and_the_older_seal(
    rewrite: Callable[[Line, list[UUID]], Line], deployment: Deployment
) -> None:
    secret = await Ledger(deployment.mongo["identity"]).secret()
    line = rewrite(await deployment.line(), deployment.strangers)
    await deployment.rewrite(line, bytes(32) if rewrite is change_nothing else secret)
    await Audit(deployment.mongo, deployment.broker.jetstream()).run(lambda _: None)
    path = await deployment.publish()
    verify(path)  # by itself it holds
    refused = [is_refused(path, kept) for kept in (*deployment.receipts, deployment.seal)]
    assert refused[-1], "the seal that was published before"
    assert sum(refused[:-1]) >= PEOPLE - 4, "and the receipts of all who came after what was rewritten"


def is_refused(path: Path, kept: str) -> bool:
    try:
        verify(path, [kept])
    except Failure:
        return True
    return False
