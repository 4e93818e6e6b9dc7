"""Roles and disabling, on the real database: each change once, in one transaction with its log entry."""

from uuid import UUID

import pytest
from people import add_users

from earlybird.access.permissions import Caller
from earlybird.errors import InvalidToken, Refusal
from earlybird.history.log import AuditLog
from earlybird.identity.accounts.administration import AccountStore
from earlybird.infra.mongo import Client, Document


@pytest.fixture
async def user(mongo: Client) -> UUID:
    [user_id] = await add_users(mongo, 1)
    return user_id


@pytest.fixture
def accounts(mongo: Client) -> AccountStore:
    return AccountStore(mongo["identity"], "VN")


async def log(mongo: Client) -> list[Document]:
    return list(reversed(await AuditLog(mongo["identity"]).read_page(None, 100)))


async def test_a_role_is_granted_and_revoked_once_and_each_is_noted(
    mongo: Client, accounts: AccountStore, user: UUID
) -> None:
    for login in ("user-0", "USER-0", "user-0@example.com", "+84900000000"):
        assert (await accounts.grant_role(login, "campaign_manager", "ada")).roles == (
            "customer",
            "campaign_manager",
        )
    for _ in range(2):
        assert (await accounts.revoke_role("user-0", "customer", "ada")).roles == ("campaign_manager",)
    assert [(one["actor"], one["action"], one["subject"]) for one in await log(mongo)] == [
        ("ada", "role.granted", user),
        ("ada", "role.revoked", user),
    ]
    granted = (await log(mongo))[0]
    assert (granted["before"], granted["after"]) == (
        {"roles": ["customer"]},
        {"roles": ["customer", "campaign_manager"]},
    )


@pytest.mark.usefixtures("user")
async def test_disabling_and_enabling_are_noted_without_personal_data(
    mongo: Client, accounts: AccountStore
) -> None:
    assert not (await accounts.disable("user-0", "ada")).is_active
    assert (await accounts.enable("user-0", "grace")).is_active
    entries = await log(mongo)
    assert [(one["action"], one["before"], one["after"]) for one in entries] == [
        ("account.disabled", {"is_active": 1}, {"is_active": 0}),
        ("account.enabled", {"is_active": 0}, {"is_active": 1}),
    ]
    assert "user-0" not in str(entries)


async def test_a_change_whose_log_entry_cannot_be_written_is_not_made(
    mongo: Client, accounts: AccountStore, user: UUID
) -> None:
    """One transaction: here the log's collection refuses everything."""
    refuse_all = {"$jsonSchema": {"required": ["never"]}}
    await mongo["identity"].command("collMod", "audit_log", validator=refuse_all)
    try:
        with pytest.raises(Exception, match="validation"):
            await accounts.disable("user-0", "ada")
    finally:
        await mongo["identity"].command("collMod", "audit_log", validator={})
    stored = await mongo["identity"]["users"].find_one({"_id": user})
    assert stored is not None
    assert stored["is_active"] == 1


@pytest.mark.parametrize("login", ["nobody", "no body", "nobody@example.com", "+84912345678", ""])
async def test_an_unknown_account_is_refused(accounts: AccountStore, login: str) -> None:
    with pytest.raises(Refusal, match="There is no account"):
        await accounts.disable(login, "ada")


@pytest.mark.usefixtures("user")
async def test_an_unknown_role_is_refused_naming_those_there_are(accounts: AccountStore) -> None:
    with pytest.raises(Refusal, match="customer, campaign_manager"):
        await accounts.grant_role("user-0", "king", "ada")


async def test_confirming_a_caller_gives_the_roles_of_now_and_refuses_the_disabled_and_the_deleted(
    mongo: Client, accounts: AccountStore, user: UUID
) -> None:
    caller = Caller(user, ("customer",), 1)
    await accounts.grant_role("user-0", "campaign_manager", "ada")
    assert (await accounts.confirm(caller, "")).roles == ("customer", "campaign_manager")
    await accounts.disable("user-0", "ada")
    with pytest.raises(Refusal) as refused:
        await accounts.confirm(caller, "")
    assert refused.value.code == "account_disabled"
    await mongo["identity"]["users"].delete_one({"_id": user})
    with pytest.raises(InvalidToken):
        await accounts.confirm(caller, "")
