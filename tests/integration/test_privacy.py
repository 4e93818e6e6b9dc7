"""A person gets a copy of what is kept of them, and can be erased. The place stays, and the audit proves it."""

import json

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, until_judged
from redis.asyncio import Redis
from workers import workers

from earlybird.errors import Refusal
from earlybird.identity import DATABASE
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit, Proof
from earlybird.operations.privacy import erase_person, export_person


async def test_a_person_is_exported_and_erased_and_the_audit_proves_as_before(
    mongo: Client, broker: NatsClient, valkey: Redis
) -> None:
    await open_campaign(mongo, 3)
    users = await add_users(mongo, 5)
    async with workers(mongo, broker, valkey):
        await log_in_first(mongo, users, at_once=1)
        await until_judged(mongo, 5)
    copy = json.loads(json.dumps(await export_person(mongo, "user-1@example.com", "VN")))
    assert (copy["account"]["username"], copy["account"]["phone"]) == ("user-1", "+84900000001")
    assert "password" not in copy["account"]
    assert [entry["_id"] for entry in copy["ledger"]] == [2]
    assert [voucher["position"] for voucher in copy["vouchers"]] == [2]
    assert (copy["redemptions"], copy["changes"]) == ([], [])

    assert await erase_person(mongo, "user-1", "VN", "test") == users[1]
    kept = json.dumps(await mongo[DATABASE]["users"].find_one({"_id": users[1]}), default=str)
    for personal in ("user-1", "User 1", "+84900000001", "birthday", "password"):
        assert personal not in kept
    for login in ("user-1", "user-1@example.com", "+84900000001", f"erased:{users[1]}"):
        with pytest.raises(Refusal, match="There is no account"):
            await export_person(mongo, login, "VN")
    proofs: list[Proof] = []
    await Audit(mongo, broker.jetstream(), wait_seconds=0).run(proofs.append)
    assert len(proofs) > 5
    [change] = await mongo[DATABASE]["audit_log"].find().to_list()
    assert (change["action"], change["subject"], change["after"]) == ("account.erased", users[1], None)
    again = await add_users_again(mongo)
    assert again["username"] == "user-1", "the name is free"


async def add_users_again(mongo: Client) -> dict[str, object]:
    """Make an account with the contacts of the erased person."""
    person = {"username": "user-1", "email": "user-1@example.com", "phone": "+84900000001"}
    await mongo[DATABASE]["users"].insert_one(dict(person))
    return dict(await mongo[DATABASE]["users"].find_one(person) or {})
