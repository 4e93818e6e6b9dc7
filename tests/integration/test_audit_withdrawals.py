"""The audit finds what is wrong with withdrawals: each corruption is planted, and named."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until, until_judged
from redis.asyncio import Redis
from uuid_utils.compat import uuid7
from workers import workers

from earlybird.infra.mongo import Client, Document
from earlybird.operations.audit import Audit, Difference, Proof
from earlybird.promotions.migrations import m002_vouchers
from earlybird.promotions.redemptions.model import Order, RedemptionEvent
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.withdrawals.model import Wanted
from earlybird.promotions.withdrawals.store import WithdrawalStore

ORDER = Order("topup-1", 100_000, "VND")
NUMBER = 7


@dataclass(frozen=True)
class Sound:
    """Nine winners, by position: the first three had theirs withdrawn, and two of them are replaced.

    The first held it. The fourth spent it, the fifth reserved and released it.
    """

    mongo: Client
    users: list[UUID]

    async def change(self, collection: str, query: Document, **values: Any) -> None:
        changed = await self.mongo["promotions"][collection].update_one(query, {"$set": values})
        assert changed.modified_count == 1

    async def one(self, collection: str, **query: Any) -> Document:
        document = await self.mongo["promotions"][collection].find_one(query)
        assert document is not None
        return document

    async def copy(self) -> dict[str, list[Document]]:
        """Read all that promotions has."""
        database = self.mongo["promotions"]
        return {name: await database[name].find().to_list() for name in await database.list_collection_names()}

    async def restore(self, copy: dict[str, list[Document]]) -> None:
        """Put it back."""
        for name, documents in copy.items():
            await self.mongo["promotions"][name].delete_many({})
            if documents:
                await self.mongo["promotions"][name].insert_many(documents)
        await m002_vouchers(self.mongo["promotions"])


@pytest.fixture
async def sound(mongo: Client, broker: NatsClient, valkey: Redis) -> Sound:
    campaign_id = await open_campaign(mongo, NUMBER)
    users = await add_users(mongo, NUMBER + 2)
    redemptions, withdrawals = RedemptionStore(mongo["promotions"]), WithdrawalStore(mongo["promotions"])
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users, at_once=1)
        await until_judged(mongo, len(users))
        await redemptions.spend(users[0], "a", ORDER, reserve=True)
        for user_id in users[:3]:
            wanted, replace = Wanted(campaign_id, user_id), user_id != users[2]
            await withdrawals.withdraw(wanted, "a bot", "cli:test", replace=replace)
        await until(mongo, "vouchers", {}, len(users))
    await redemptions.spend(users[3], "a", ORDER, reserve=False)
    released = await redemptions.spend(users[4], "a", ORDER, reserve=True)
    await redemptions.settle(released.id, RedemptionEvent.RELEASE, users[4], owner=users[4])
    return Sound(mongo, users)


async def audit(mongo: Client, broker: NatsClient) -> dict[str, str]:
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream(), wait_seconds=0).run(proofs.append)
    return {proof.subject: proof.statement for proof in proofs}


async def difference(mongo: Client, broker: NatsClient) -> str:
    """Return what the audit finds, if anything."""
    try:
        await audit(mongo, broker)
    except Difference as found:
        return str(found)
    return "nothing"


Corruption = Callable[[Sound], Awaitable[Any]]


async def make_a_withdrawn_voucher_available(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[2]}, is_available=1)


async def hold_a_withdrawn_voucher(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[2]}, held_by=uuid7())


async def redeem_what_is_withdrawn(sound: Sound) -> None:
    spent = await sound.one("vouchers", is_available=0, withdrawn_at=None)
    taken = {"withdrawn_at": datetime.now(UTC), "withdrawn_by": "cli:test", "withdrawn_reason": "a bot"}
    await sound.change("vouchers", {"_id": spent["_id"]}, **taken)


async def spend_what_is_withdrawn(sound: Sound) -> None:
    withdrawn = await sound.one("vouchers", user_id=sound.users[2])
    spent = await sound.one("redemptions", state="redeemed")
    new = {"_id": uuid7(), "voucher_id": withdrawn["_id"], "user_id": sound.users[2]}
    await sound.mongo["promotions"]["redemptions"].insert_one(spent | new)


async def give_a_withdrawn_voucher_back(sound: Sound) -> None:
    fields = dict.fromkeys(("withdrawn_at", "withdrawn_by", "withdrawn_reason"), "")
    await sound.mongo["promotions"]["vouchers"].update_one(
        {"user_id": sound.users[2]}, {"$unset": fields, "$set": {"is_available": 1}}
    )


async def give_back_what_is_replaced(sound: Sound) -> None:
    fields = dict.fromkeys(("withdrawn_at", "withdrawn_by", "withdrawn_reason"), "")
    await sound.mongo["promotions"]["vouchers"].update_one(
        {"user_id": sound.users[1]}, {"$unset": fields, "$set": {"is_available": 1}}
    )


async def withdraw_by_hand(sound: Sound) -> None:
    taken = {"withdrawn_at": datetime.now(UTC), "withdrawn_by": "cli:test", "withdrawn_reason": "a bot"}
    await sound.change("vouchers", {"user_id": sound.users[8]}, is_available=0, **taken)


async def withdraw_for_another_reason(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[2]}, withdrawn_reason="another")


async def say_that_another_withdrew(sound: Sound) -> None:
    await sound.change("vouchers", {"user_id": sound.users[2]}, withdrawn_by="cli:another")


async def replace_what_is_not_withdrawn(sound: Sound) -> None:
    await sound.change("campaigns", {}, **{"raises.0.replaces": 9})


async def replace_twice(sound: Sound) -> None:
    await sound.change("campaigns", {}, **{"raises.0.replaces": 2})


async def forget_a_replacement(sound: Sound) -> None:
    await sound.mongo["promotions"]["campaigns"].update_one({}, {"$pop": {"raises": 1}})


async def date_a_replacement_otherwise(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].update_one(
        {"action": "campaign.extended"}, {"$set": {"after.added.at": datetime.now(UTC)}}
    )


async def forget_that_a_campaign_was_extended(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].delete_one({"action": "campaign.extended"})


async def use_a_position_again(sound: Sound) -> None:
    """The replacement gets the position of the voucher that it replaces."""
    vouchers = sound.mongo["promotions"]["vouchers"]
    await vouchers.drop_index("campaign_position")
    await vouchers.update_one({"position": 9}, {"$set": {"position": 3}})


async def let_a_replacement_overtake(sound: Sound) -> None:
    vouchers = sound.mongo["promotions"]["vouchers"]
    for position, new in ((8, 99), (9, 8), (99, 9)):
        await vouchers.update_one({"position": position}, {"$set": {"position": new}})


async def end_a_hold_without_its_voucher(sound: Sound) -> None:
    await sound.change("redemptions", {"state": "released"}, state="withdrawn")


async def forget_that_a_hold_ended(sound: Sound) -> None:
    await sound.mongo["promotions"]["audit_log"].delete_one({"action": "redemption.withdrawn"})


CORRUPTIONS: list[tuple[Corruption, str]] = [
    (make_a_withdrawn_voucher_available, "it is withdrawn, and available"),
    (hold_a_withdrawn_voucher, "it is withdrawn, and held"),
    (redeem_what_is_withdrawn, "it is withdrawn, and redeemed"),
    (spend_what_is_withdrawn, "it is withdrawn, and redeemed"),
    (give_a_withdrawn_voucher_back, "audit_log: 3 say voucher.withdrawn, but there are 2 vouchers"),
    (give_back_what_is_replaced, "campaign “Launch”: position 2 is replaced, and was not withdrawn"),
    (withdraw_by_hand, "audit_log: 3 say voucher.withdrawn, but there are 4 vouchers"),
    (withdraw_for_another_reason, "withdrawn_reason is not what the audit log says"),
    (say_that_another_withdrew, "withdrawn_by is not what the audit log says"),
    (replace_what_is_not_withdrawn, "campaign “Launch”: position 9 is replaced, and was not withdrawn"),
    (replace_twice, "campaign “Launch”: position 2 is replaced twice"),
    (forget_a_replacement, "position 9 was earned by nobody"),
    (date_a_replacement_otherwise, "campaign “Launch”: raises is not what the audit log says"),
    (forget_that_a_campaign_was_extended, "campaign “Launch”: raises is not what the audit log says"),
    (use_a_position_again, "position [34]: .* earned the voucher, .* holds it"),
    (let_a_replacement_overtake, "position 8: .* earned the voucher, .* holds it"),
    (end_a_hold_without_its_voucher, "it ended with its voucher, which was not withdrawn"),
    (forget_that_a_hold_ended, "audit_log: 0 say redemption.withdrawn, but there are 1 redemptions"),
]


async def test_the_audit_passes_withdrawals_and_names_each_that_was_corrupted(
    sound: Sound, broker: NatsClient
) -> None:
    proofs, copy = await audit(sound.mongo, broker), await sound.copy()
    said = "9 of 9 vouchers, to exactly those who came first, in that order; 3 withdrawn since, 2 replaced"
    assert proofs["campaign “Launch”"] == said
    assert proofs["audit log"].startswith("16 changes"), (
        "1 campaign; 9 granted, 3 withdrawn, and 1 reservation with them; 1 redeemed, 1 released"
    )
    for corrupt, finding in CORRUPTIONS:
        await corrupt(sound)
        found = await difference(sound.mongo, broker)
        assert re.search(finding, found), f"{corrupt.__name__}: {found}"
        await sound.restore(copy)
    assert await audit(sound.mongo, broker) == proofs
