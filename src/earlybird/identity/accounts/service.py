"""What people do to get an account: register."""

from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from earlybird.identity.accounts.model import NewUser
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.passwords.hashing import ClientLeaves, Passwords


class Accounts:
    """Registration. Every method raises Unavailable when overloaded or cut off from MongoDB.

    Whoever leaves (`client_leaves` returns) while waiting for a slot to hash in is dropped with ClientLeft; later
    on nothing is cut short, least of all a write.
    """

    def __init__(self, users: UserStore, passwords: Passwords) -> None:
        """Work with these."""
        self._users = users
        self._passwords = passwords

    async def register(self, user: NewUser, client_leaves: ClientLeaves) -> None:
        """Make an account. Raises Refusal `duplicate_username`, `duplicate_email` or `duplicate_phone`."""
        with self._passwords.admit():
            password_hash = await self._passwords.hash(user.password, client_leaves)
            await self._users.insert(uuid7(), user, password_hash, datetime.now(UTC))
