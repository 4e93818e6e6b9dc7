"""All MongoDB of what is done to accounts: roles, disabling. Each change is one transaction with its log entry."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.access.permissions import Caller
from earlybird.errors import InvalidToken, Refusal, account_disabled
from earlybird.history.log import AuditLog, Change
from earlybird.identity.accounts.model import login_keys, with_role, without_role
from earlybird.infra.mongo import (
    LINEARIZABLE,
    Database,
    Document,
    database_time,
    in_transaction,
    outages_as_unavailable,
)


@dataclass(frozen=True, slots=True)
class Account:
    """An account as those who look after it see it."""

    id: UUID
    username: str
    roles: tuple[str, ...]
    is_active: bool
    is_locked: bool
    first_login_at: datetime | None


class AccountStore:
    """Accounts, by the name, e-mail address or phone number that somebody logs in with.

    `actor` is whom the audit log names. A change that changes nothing is not noted, so all are safe to repeat.
    Every method raises Refusal `account_not_found`, and Unavailable when MongoDB does not answer.
    """

    def __init__(self, database: Database, country: str) -> None:
        self._database = database
        self._country = country  # ISO 3166: of phone numbers without `+`
        self._users = database["users"]
        self._log = AuditLog(database)

    async def find(self, login: str) -> Account:
        """Read an account."""
        async with outages_as_unavailable():
            return _account(await self._find(login))

    async def grant_role(self, login: str, role: str, actor: str) -> Account:
        """Return a role; it counts from the next login on. Raises Refusal `unknown_role`."""
        return await self._change(
            login, "role.granted", actor, lambda user: {"roles": with_role(user["roles"], role)}
        )

    async def revoke_role(self, login: str, role: str, actor: str) -> Account:
        """Take a role away. Raises Refusal `unknown_role`."""
        return await self._change(
            login, "role.revoked", actor, lambda user: {"roles": without_role(user["roles"], role)}
        )

    async def disable(self, login: str, actor: str) -> Account:
        """Let nobody log in to the account, redeem with it or run campaigns with it, from now on."""
        return await self._change(login, "account.disabled", actor, lambda _: {"is_active": 0})

    async def enable(self, login: str, actor: str) -> Account:
        """Let the account be used again."""
        return await self._change(login, "account.enabled", actor, lambda _: {"is_active": 1})

    async def lock(self, user_id: UUID) -> Account:
        """Let only known devices log in to the account: too many guesses in a row were wrong."""
        return await self._change(user_id, "account.locked", "throttle", lambda _: {"is_locked": True})

    async def unlock(self, login: str, actor: str) -> Account:
        """Let every device log in again."""
        return await self._change(login, "account.unlocked", actor, lambda _: {"is_locked": False})

    async def change_password(self, user_id: UUID, old_hash: str, new_hash: str, actor: str) -> bool:
        """Store another password; say whether the old one was still the one that was checked."""

        async def transaction(session: AsyncClientSession) -> bool:
            now = await database_time(self._database)
            changed = await self._users.update_one(
                {"_id": user_id, "password": old_hash},
                {"$set": {"password": new_hash, "updated_at": now}},
                session=session,
            )
            if changed.matched_count:
                await self._log.record(session, actor, now, [Change("password.changed", user_id, None, None)])
            return changed.matched_count == 1

        async with outages_as_unavailable():
            return await in_transaction("account", self._database, transaction)

    async def confirm(self, caller: Caller, _token: str) -> Caller:
        """Return a caller with the roles of now. Raises Refusal `account_disabled`, InvalidToken if it is gone."""
        async with outages_as_unavailable():
            newest = self._users.with_options(
                read_concern=LINEARIZABLE
            )  # disabled means disabled, also after a failover
            user = await newest.find_one({"_id": caller.user_id}, {"is_active": 1, "roles": 1})
        if user is None:
            raise InvalidToken("There is no such account any more.", "no_account")
        if user["is_active"] != 1:
            raise account_disabled()
        return replace(caller, roles=tuple(user["roles"]))

    async def _find(self, login: str | UUID, session: AsyncClientSession | None = None) -> Document | None:
        if isinstance(login, UUID):
            return await self._users.find_one({"_id": login}, session=session)
        for field, value in login_keys(login, self._country):
            user = await self._users.find_one({field: value}, session=session)
            if user is not None:
                return user
        return None

    async def _change(
        self, login: str | UUID, action: str, actor: str, rule: Callable[[Document], Document]
    ) -> Account:
        async def transaction(session: AsyncClientSession) -> Account:
            user = await self._find(login, session)
            account = _account(user)
            try:
                new = rule(user or {})
            except ValueError as error:
                raise Refusal("unknown_role", f"{error}.") from None
            change = Change.between(action, account.id, user or {}, new)
            if not change.after:
                return account
            now = await database_time(self._database)
            await self._users.update_one(
                {"_id": account.id}, {"$set": {**new, "updated_at": now}}, session=session
            )
            await self._log.record(session, actor, now, [change])
            return _account({**(user or {}), **new})

        async with outages_as_unavailable():
            return await in_transaction("account", self._database, transaction)


def _account(user: Document | None) -> Account:
    if user is None:
        raise _not_found()
    return Account(
        id=user["_id"],
        username=user["username"],
        roles=tuple(user["roles"]),
        is_active=user["is_active"] == 1,
        is_locked=user.get("is_locked", False),
        first_login_at=user.get("first_login_at"),
    )


def _not_found() -> Refusal:
    return Refusal("account_not_found", "There is no account with this user name, e-mail address or phone number.")
