"""What people do to get an account: register."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from uuid_utils.compat import uuid7

from earlybird.errors import Refusal
from earlybird.identity.accounts.model import NewUser, normalise_phone
from earlybird.identity.passwords.breached import BreachedPasswords
from earlybird.identity.passwords.hashing import ClientLeaves, Passwords
from earlybird.identity.passwords.rules import PasswordRules
from earlybird.identity.throttle.guesses import Throttle
from earlybird.infra.security_log import note
from earlybird.metrics import REGISTRATIONS


class NewAccounts(Protocol):
    """Where new accounts go: among the users (`UserStore`), or first to be verified (`Contacts`)."""

    async def insert(self, user_id: UUID, user: NewUser, password_hash: str, now: datetime) -> None:
        """Add an account. Raises Refusal `duplicate_…`, and `too_many_attempts` where contacts are verified."""


class Accounts:
    """Registration. Every method raises Unavailable when overloaded or cut off from MongoDB.

    A client that leaves (`client_leaves` returns) while it waits for a slot gets ClientLeft. Once its hash has
    begun, the registration runs to its end.
    """

    def __init__(
        self,
        new_accounts: NewAccounts,
        passwords: Passwords,
        rules: PasswordRules,
        breached: BreachedPasswords,
        throttle: Throttle,
        country: str,
    ) -> None:
        self._new_accounts = new_accounts
        self._passwords = passwords
        self._rules = rules
        self._breached = breached
        self._throttle = throttle
        self._country = country  # ISO 3166: of phone numbers without `+`

    async def register(self, user: NewUser, source: str | None, client_leaves: ClientLeaves) -> None:
        """Make an account for somebody at `source` (None: not counted).

        The phone number may be as it was typed. Raises Refusal `invalid_field` (no phone number),
        `weak_password`, `too_many_attempts`, `duplicate_username`, `duplicate_email`, `duplicate_phone`.
        """
        try:
            user = replace(user, phone=normalise_phone(user.phone, self._country))
        except ValueError as error:
            raise Refusal("invalid_field", f"phone: {error}.") from None
        self._rules.check(user.password, [user.username, user.email, user.phone, user.full_name])
        with self._passwords.admit():
            await self._throttle.count_registration(source)
            await self._breached.check(user.password)
            password_hash = await self._passwords.hash(user.password, client_leaves)
            user_id: UUID = uuid7()
            await self._new_accounts.insert(user_id, user, password_hash, datetime.now(UTC))
        REGISTRATIONS.inc()
        note("registered", user=user_id)
