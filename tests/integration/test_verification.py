"""Contacts are verified with a code before an account counts; who confirms has the contact; nobody learns more."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import bson
import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from redis.asyncio import Redis
from verified_identity import PASSWORD, Service, verified_identity, verifying

from earlybird.errors import Refusal
from earlybird.identity.contacts.model import CODES_PER_HOUR, TRIES
from earlybird.identity.contacts.store import end_unverified
from earlybird.identity.throttle import pace
from earlybird.infra.mongo import Client
from earlybird.operations.privacy import erase_person, export_person
from earlybird.settings import Settings

STANDARD: CodecOptions[dict[str, object]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
HERE = {"X-Client-Address": "203.0.113.7"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Waits for Valkey: on a busy machine a process would count by itself meanwhile."""
    return settings.model_copy(update={"valkey_timeout_seconds": 10})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets answers come at multiples of a millisecond."""
    monkeypatch.setattr(pace, "_EVERY_SECONDS", 0.001)


def another(code: str) -> str:
    """Return a code that is not this one."""
    return f"{(int(code) + 1) % 10**6:06}"


async def test_an_account_counts_from_its_last_confirmed_contact_on(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email_and_phone"), mongo, valkey) as service:
        ada = await service.register(1)
        assert await service.user_names() == [], "so no login of hers can reach the ledger"
        for login in (ada["username"], ada["email"], ada["phone"]):
            assert await service.log_in(login, "wrong") == "invalid_credentials"
            assert await service.log_in(login) == "contact_not_verified"
        assert await service.log_in("nobody") == "invalid_credentials"
        letters = await service.letters()
        assert sorted(letters) == [ada["phone"], ada["email"]]
        for contact in (ada["email"], "0912 000 001"):
            code = await service.code(ada["email"] if "@" in str(contact) else ada["phone"])
            assert await service.log_in(ada["username"]) == "contact_not_verified"
            assert await service.confirm(ada["username"], contact, another(code)) == (400, "invalid_code")
            assert await service.confirm("person-2", contact, code) == (400, "invalid_code"), "not her account"
            assert await service.confirm(ada["username"], contact, code) == (200, "success")
            assert (await service.confirm(ada["username"], contact, code))[0] in {400, 409}, "a code is used once"
        assert await service.log_in(ada["username"]) == "success"
        [user] = await mongo["identity"]["users"].find().to_list()
        assert (user["is_first_login"], "awaits" in user, "expires_at" in user) == (0, False, False)
        [change] = await mongo["identity"]["audit_log"].find().to_list()
        assert (change["action"], change["subject"]) == ("account.verified", user["_id"])
        assert await mongo["identity"]["contact_codes"].count_documents({}) == 0


async def test_parallel_tries_are_counted_and_a_new_code_replaces_the_old(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        ada = await service.register(1)
        name, email, old = ada["username"], ada["email"], await service.code(ada["email"])
        wrong = [another(old)] * 20
        answers = await asyncio.gather(*(service.confirm(name, email, code) for code in wrong))
        assert set(answers) == {(400, "invalid_code")}
        [kept] = await mongo["identity"]["contact_codes"].find().to_list()
        assert kept["tries"] == TRIES
        assert await service.confirm(name, email, old) == (400, "invalid_code"), "tried too often"
        assert (await service.post("/verifications", {"contact": email})).json() == {"status": "success"}
        new = await service.code(email)
        assert await mongo["identity"]["message_outbox"].count_documents({}) == 1, "the old letter is dropped"
        if new != old:
            assert await service.confirm(name, email, old) == (400, "invalid_code")
        await mongo["identity"]["contact_codes"].update_one(
            {}, {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
        )
        assert await service.confirm(name, email, new) == (400, "invalid_code"), "too old"


async def test_the_answers_are_the_same_for_a_contact_that_is_nobodys(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        waiting, verified = await service.register(1), await service.register(2)
        code = await service.code(verified["email"])
        assert await service.confirm(verified["username"], verified["email"], code) == (200, "success")
        await mongo["identity"]["message_outbox"].delete_many({})
        contacts = [waiting["email"], verified["email"], "nobody@example.com", waiting["phone"]]
        answers = []
        for contact in contacts:
            asked = await service.post("/verifications", {"contact": contact})
            wrong = another(await service.code(waiting["email"]))
            body = {"username": "person-1", "contact": contact, "code": wrong}
            refused = await service.post("/verifications/confirm", body)
            answers.append([(one.status_code, one.content, dict(one.headers)) for one in (asked, refused)])
        assert answers[0] == answers[1] == answers[2] == answers[3]
        assert sorted(await service.letters()) == [waiting["email"]], "only who waits is written to"


async def test_who_registers_with_somebodys_contact_learns_nothing_and_the_owner_is_told(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        owner = await service.register(1)
        await service.confirm(owner["username"], owner["email"], await service.code(owner["email"]))
        stranger = await service.register(2, "vi-VN", email=owner["email"])
        letter = (await service.letters())[str(owner["email"])]
        assert (letter.kind, letter.code, letter.language) == ("taken", None, "vi")
        assert await service.log_in(stranger["username"]) == "contact_not_verified"
        assert await service.log_in(owner["email"]) == "success"
        taken = await service.post("/register", {**owner, "email": "new@example.com"})
        assert (taken.status_code, taken.json()["code"]) == (400, "duplicate_username")
        phone = await service.post("/register", {**stranger, "username": "third", "phone": owner["phone"]})
        assert phone.json()["code"] == "duplicate_phone", "not verified here, so as without verification"


async def test_of_many_who_confirm_the_same_contact_at_once_one_wins(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    """They share the mailbox, and so the code: the code is used once, and the contact is had once."""
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        people = [await service.register(i, email="shared@example.com") for i in range(4)]
        code = await service.code("shared@example.com")
        answers = Counter(
            await asyncio.gather(*(service.confirm(one["username"], "shared@example.com", code) for one in people))
        )
        assert answers.pop((200, "success")) == 1
        assert set(answers) <= {(409, "duplicate_email"), (400, "invalid_code")}
        [winner] = await service.user_names()
        assert await service.log_in("shared@example.com") == "success"
        assert await service.log_in(winner) == "success"


@pytest.mark.parametrize("verify", ["email", "email_and_phone"])
async def test_of_many_who_become_accounts_at_once_with_one_phone_number_one_wins(
    settings: Settings, mongo: Client, valkey: Redis, verify: str
) -> None:
    """Each has a code of its own, so nothing but the unique index decides."""
    async with verified_identity(verifying(settings, verify), mongo, valkey) as service:
        people = []
        for i in range(5):
            people.append(await service.register(i, phone="+84912345678"))
            if verify == "email_and_phone":  # all prove the number, one after another, before anybody is done
                code = await service.code("+84912345678")
                assert await service.confirm(people[-1]["username"], "+84912345678", code) == (200, "success")
        codes = [await service.code(one["email"]) for one in people]
        answers = await asyncio.gather(
            *(
                service.confirm(one["username"], one["email"], code)
                for one, code in zip(people, codes, strict=True)
            )
        )
        assert Counter(answers) == {(200, "success"): 1, (409, "duplicate_phone"): 4}
        assert await service.user_names() == [people[answers.index((200, "success"))]["username"]]


async def test_a_stranger_with_my_address_gets_no_account_and_does_not_spoil_my_code(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        ada = await service.register(1)
        await service.register(2, email=ada["email"], password="another good password")
        newest = await service.code(ada["email"])
        assert await service.confirm(ada["username"], ada["email"], newest) == (200, "success")
        assert await service.user_names() == [ada["username"]]
        assert await service.log_in("person-2", "another good password") == "contact_not_verified"


async def test_a_name_is_free_again_after_a_day(settings: Settings, mongo: Client, valkey: Redis) -> None:
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        for i in (1, 2):
            await service.register(i)
        taken = await service.post("/register", {**(await service.register(3)), "email": "new@example.com"})
        assert taken.json()["code"] == "duplicate_username"
        code = await service.code("person-1@example.com")
        assert await end_unverified(mongo["identity"]) == []
        yesterday = {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
        await mongo["identity"]["unverified_accounts"].update_many({}, yesterday)
        assert await service.confirm("person-1", "person-1@example.com", code) == (400, "invalid_code")
        assert await service.log_in("person-1") == "invalid_credentials"
        await service.register(4, username="person-1")  # free without a courier too
        ended = await asyncio.gather(*(end_unverified(mongo["identity"]) for _ in range(3)))
        assert sorted(map(len, ended)) == [0, 0, 2]
        actions = Counter([entry["action"] async for entry in mongo["identity"]["audit_log"].find()])
        assert actions == {"account.ended": 3}
        await service.register(5, username="person-2")


async def test_codes_are_limited_per_contact_tries_per_account_and_both_per_source(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    changed = verifying(settings, "email", source_registrations=4, source_failed_logins=3)
    async with verified_identity(changed, mongo, valkey) as service:
        for contact in ("person-1@example.com", "nobody@example.com"):
            body = {"contact": contact}
            answers = [await service.post("/verifications", body) for _ in range(CODES_PER_HOUR + 1)]
            assert [answer.status_code for answer in answers] == [200] * CODES_PER_HOUR + [429]
            assert answers[-1].headers["ratelimit-policy"] == f'"codes";q={CODES_PER_HOUR}'
        refused = await service.post("/register", {**ADA, "email": "nobody@example.com"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
        sent = [await service.post("/verifications", {"contact": f"p{i}@example.com"}, **HERE) for i in range(5)]
        assert [answer.status_code for answer in sent] == [200] * 4 + [429]
        body = {"username": "ada", "contact": "ada@example.com", "code": "000000"}
        tried = [await service.post("/verifications/confirm", body, **HERE) for _ in range(4)]
        assert [answer.status_code for answer in tried] == [400] * 3 + [429]
        counted = await asyncio.gather(*(service.confirm("ada", "ada@example.com", "000000") for _ in range(28)))
        assert Counter(counted) == {(400, "invalid_code"): 27, (429, "too_many_attempts"): 1}
        keys = [key.decode() async for key in valkey.scan_iter("*")]
        assert not [key for key in keys if "example" in key or "ada" in key], "digests alone"


ADA = {
    "username": "ada",
    "email": "ada@example.com",
    "phone": "+84912345678",
    "password": PASSWORD,
    "full_name": "Ada Lovelace",
    "birthday": "1990-12-10",
}


async def test_the_database_holds_no_code(settings: Settings, mongo: Client, valkey: Redis) -> None:
    async with verified_identity(verifying(settings, "email_and_phone"), mongo, valkey) as service:
        ada = await service.register(1)
        codes = [(await service.code(ada[channel])) for channel in ("email", "phone")]
        for name in ("contact_codes", "message_outbox"):
            found = await mongo["identity"][name].find().to_list()
            stored = b"".join(bson.encode(one, codec_options=STANDARD) for one in found)
            for text in (*codes, str(ada["email"]), str(ada["phone"])):
                assert text.encode() not in stored
        [first, second] = await mongo["identity"]["message_outbox"].find().to_list()
        assert service.outbox._open(first["_id"], second["sealed"]) is None, "a letter stays in its place"


async def test_accounts_of_before_count_as_verified_and_without_verification_nothing_is_kept(
    settings: Settings, mongo: Client, valkey: Redis
) -> None:
    async with verified_identity(settings, mongo, valkey) as service:
        ada = await service.register(1)
        assert await service.log_in(ada["username"]) == "success"
        assert (await service.post("/verifications", {"contact": ada["email"]})).status_code == 200
        for name in ("unverified_accounts", "contact_codes", "message_outbox"):
            assert await mongo["identity"][name].count_documents({}) == 0
        await service.register(2)
    async with verified_identity(verifying(settings, "email"), mongo, valkey) as service:
        for name in ("person-1", "person-2"):
            assert await service.log_in(name) == "success"


async def test_a_person_who_waits_is_exported_and_erased(settings: Settings, mongo: Client, valkey: Redis) -> None:
    async with verified_identity(verifying(settings, "email_and_phone"), mongo, valkey) as service:
        ada = await service.register(1)
        await service.register(2)
        copy = json.loads(json.dumps(await export_person(mongo, str(ada["email"]), "VN")))
        assert (copy["account"]["awaits"], copy["account"]["phone"]) == (["email", "phone"], ada["phone"])
        assert [sorted(one) for one in copy["messages"]] == [
            ["attempts", "channel", "created_at", "expires_at"]
        ] * 2
        assert "password" not in copy["account"]
        await erase_person(mongo, "person-1", "VN", "test")
        assert sorted(await service.letters()) == ["+84912000002", "person-2@example.com"]
        kept = [one["username"] async for one in mongo["identity"]["unverified_accounts"].find()]
        assert kept == ["person-2"]
        with pytest.raises(Refusal, match="There is no account"):
            await export_person(mongo, "person-1", "VN")
        [change] = await mongo["identity"]["audit_log"].find().to_list()
        assert change["action"] == "account.erased"
        await end_all(service)
        erased = await service.register(3)
        for channel in ("email", "phone"):
            code = await service.code(erased[channel])
            assert await service.confirm(erased["username"], erased[channel], code) == (200, "success")
        assert len(await service.letters()) == 4, "sent by nobody here"
        await erase_person(mongo, "person-3", "VN", "test")
        assert sorted(await service.letters()) == ["+84912000002", "person-2@example.com"]


async def end_all(service: Service) -> None:
    assert await end_unverified(service.mongo["identity"]) == []
