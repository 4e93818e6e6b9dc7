"""Who logs in for the first time is decided by the one write, whatever a secondary that lags behind has said."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from contextvars import ContextVar
from datetime import date

import pytest
from redis.asyncio import Redis

from earlybird.access.revocation_feed import RevocationFeed
from earlybird.access.verifier import TokenVerifier
from earlybird.errors import Refusal
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.model import LoginKey, NewUser, User
from earlybird.identity.accounts.service import Accounts
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import build_identity_app
from earlybird.identity.logins.service import Client as LoginClient
from earlybird.identity.logins.service import Logins
from earlybird.identity.passwords.hashing import Passwords
from earlybird.identity.sessions.signer import OwnKeys
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.mongo import Client, Database
from earlybird.settings import Settings

NOWHERE = LoginClient(None, None, "", None)
PASSWORD = "correct horse battery"
LogIn = Callable[[Callable[[], Awaitable[object]]], Awaitable[tuple[str, ...]]]


class Before(UserStore):
    """Accounts as a secondary has them that has not heard yet of what `happens`, which each login sets."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.happens: ContextVar[Callable[[], Awaitable[object]]] = ContextVar("happens")

    async def find_by_login(self, keys: Sequence[LoginKey]) -> User | None:
        found = await super().find_by_login(keys)
        await self.happens.get()()
        return found


async def nobody_leaves() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def log_in(mongo: Client, valkey: Redis, settings: Settings) -> AsyncIterator[LogIn]:
    """Registers Ada; logs her in, with something that happens after she was looked up; gives the token's roles."""
    keys, feed, before = KeyFolder.of(settings), RevocationFeed(settings, "test"), Before(mongo["identity"])
    verifier = TokenVerifier(OwnKeys(keys), "earlybird", "earlybird", memory=9)
    with closing(Passwords(memory_kib=8, iterations=1, slots=2, queue_seconds=10)) as passwords:
        app = build_identity_app(settings, before, mongo["identity"], valkey, passwords, keys, feed)

        async def log_in(meanwhile: Callable[[], Awaitable[object]]) -> tuple[str, ...]:
            before.happens.set(meanwhile)
            logged_in = await app.state.built[Logins].log_in("ada", PASSWORD, NOWHERE, nobody_leaves)
            return (await verifier.verify(logged_in.token)).roles

        ada = NewUser("ada", "ada@example.com", "+84912345678", PASSWORD, "Ada Lovelace", date(1990, 12, 10))
        await app.state.built[Accounts].register(ada, None, nobody_leaves)
        yield log_in


async def awaits_first_login(mongo: Client) -> bool:
    return await mongo["identity"]["users"].count_documents({"is_first_login": 1, "first_login_at": None}) == 1


async def test_somebody_disabled_since_they_were_looked_up_gets_no_token_and_no_place(
    log_in: LogIn, mongo: Client
) -> None:
    accounts = AccountStore(mongo["identity"], "VN")
    for _ in range(2):  # the second time they are known to be disabled
        with pytest.raises(Refusal) as refused:
            await log_in(lambda: accounts.disable("ada", "test"))
        assert refused.value.code == "invalid_credentials"
        assert await awaits_first_login(mongo)
    await accounts.enable("ada", "test")
    assert await log_in(nothing) == ("customer",)
    assert not await awaits_first_login(mongo)


async def test_somebody_made_staff_since_they_were_looked_up_logs_in_as_staff_and_takes_no_place(
    log_in: LogIn, mongo: Client
) -> None:
    accounts = AccountStore(mongo["identity"], "VN")
    await accounts.grant_role("ada", "campaign_manager", "test")
    assert await log_in(lambda: accounts.revoke_role("ada", "customer", "test")) == ("campaign_manager",)
    assert await log_in(nothing) == ("campaign_manager",)
    assert await awaits_first_login(mongo)


async def test_logins_of_one_account_at_the_same_moment_all_succeed_and_one_is_the_first(
    log_in: LogIn, mongo: Client
) -> None:
    all_looked_up = asyncio.Barrier(3)
    assert await asyncio.gather(*(log_in(all_looked_up.wait) for _ in range(3))) == [("customer",)] * 3
    first = await mongo["identity"]["users"].find_one()
    await log_in(nothing)
    assert await mongo["identity"]["users"].find_one() == first
    assert not await awaits_first_login(mongo)


async def nothing() -> None:
    """Nothing happens meanwhile."""
