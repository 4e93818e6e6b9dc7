"""What people can do with an account: register, log in."""

from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from earlybird.errors import Refusal
from earlybird.identity.model import NewUser, login_key, normalise_password
from earlybird.identity.passwords import ClientLeaves, Passwords
from earlybird.identity.store import UserStore
from earlybird.tokens import TokenSigner


class Identity:
    """Accounts and logins. Every method raises Unavailable when overloaded or cut off from MongoDB.

    Whoever leaves (`client_leaves` returns) while waiting for a slot to hash in is dropped with ClientLeft; later
    on nothing is cut short, least of all a write.
    """

    def __init__(self, users: UserStore, passwords: Passwords, signer: TokenSigner) -> None:
        """Work with these."""
        self._users = users
        self._passwords = passwords
        self._signer = signer

    async def register(self, user: NewUser, client_leaves: ClientLeaves) -> None:
        """Make an account. Raises Refusal `duplicate_username`, `duplicate_email` or `duplicate_phone`."""
        with self._passwords.admit():
            password_hash = await self._passwords.hash(user.password, client_leaves)
            await self._users.insert(uuid7(), user, password_hash, datetime.now(UTC))

    async def log_in(self, login: str, password: str, client_leaves: ClientLeaves) -> str:
        """Give a token; the first login of a life is committed, by a majority, before it is given.

        `login` is a user name, e-mail address or phone number. Raises Refusal `invalid_credentials` (no
        such user and a wrong password look and cost the same) or `account_disabled`.
        """
        with self._passwords.admit():
            key = login_key(login)
            user = await self._users.find_by_login(*key) if key else None
            password_hash = user.password_hash if user else None
            fits = await self._passwords.verify(normalise_password(password), password_hash, client_leaves)
            if user is None or not fits:
                raise Refusal("invalid_credentials", "The user name or the password is wrong.")
            if user.awaits_first_login and not await self._users.mark_first_login(user.id):
                # Logged in, disabled or made staff since: what was read near by is out of date.
                user = await self._users.find_newest(user.id)
            if user is None or not user.is_active:
                raise Refusal("account_disabled", "This account is disabled. Please contact us.")
        return self._signer.issue(user.id, user.roles, datetime.now(UTC))
