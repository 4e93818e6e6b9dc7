"""What people do with an account: log in."""

from datetime import UTC, datetime

from earlybird.errors import Refusal, account_disabled
from earlybird.identity.accounts.model import login_keys
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.passwords.hashing import ClientLeaves, Passwords
from earlybird.identity.sessions.signer import TokenSigner


class Logins:
    """Logins. Every method raises Unavailable when overloaded or cut off from MongoDB.

    A client that leaves (`client_leaves` returns) while it waits for a slot gets ClientLeft. Once its hash has
    begun, the login runs to its end.
    """

    def __init__(self, users: UserStore, passwords: Passwords, signer: TokenSigner, country: str) -> None:
        self._users = users
        self._passwords = passwords
        self._signer = signer
        self._country = country  # ISO 3166: of phone numbers without `+`

    async def log_in(self, login: str, password: str, client_leaves: ClientLeaves) -> str:
        """Return a token. An account's first login is committed by a majority before that.

        `login` is a user name, e-mail address or phone number; `password` is in its normal form. Raises Refusal
        `invalid_credentials` (no such user and a wrong password look and cost the same) or `account_disabled`.
        """
        with self._passwords.admit():
            user = await self._users.find_by_login(login_keys(login, self._country))
            password_hash = user.password_hash if user else None
            fits = await self._passwords.verify(password, password_hash, client_leaves)
            if user is None or not fits:
                raise Refusal("invalid_credentials", "The user name or the password is wrong.")
            if user.awaits_first_login and not await self._users.mark_first_login(user.id):
                # Logged in, disabled or made staff since: what was read near by is out of date.
                user = await self._users.find_newest(user.id)
            if user is None or not user.is_active:
                raise account_disabled()
        return self._signer.issue(user.id, user.roles, datetime.now(UTC))
