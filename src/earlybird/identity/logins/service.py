"""What people do to prove who they are: log in, and change their password."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from earlybird.access.permissions import Caller
from earlybird.errors import Refusal
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.model import User, login_keys
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.contacts.service import Contacts
from earlybird.identity.passwords.breached import BreachedPasswords
from earlybird.identity.passwords.hashing import ClientLeaves, Passwords
from earlybird.identity.passwords.rules import PasswordRules
from earlybird.identity.sessions.service import Sessions
from earlybird.identity.throttle.devices import Devices
from earlybird.identity.throttle.guesses import Throttle
from earlybird.identity.throttle.model import DEVICE_FAILURES, LOCKED_AFTER, Bucket, device, strangers
from earlybird.identity.throttle.pace import evenly
from earlybird.infra.security_log import note
from earlybird.metrics import LOGINS

# From the start, so that the first of each is seen as a change.
_REFUSED_BY = "invalid_credentials", "contact_not_verified", "too_many_attempts", "overloaded", "unavailable"
for _outcome in ("succeeded", *_REFUSED_BY):
    LOGINS.labels(_outcome)


@dataclass(frozen=True, slots=True)
class Client:
    """What a request says of where it comes from."""

    source: str | None  # address or network that guesses are counted by; None: not counted
    address: str | None
    device: str  # the `User-Agent`
    cookie: str | None  # of a known device


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A token, and the cookie for a device that had none of this account."""

    token: str
    cookie: str | None


class Logins:
    """Logins. Every method raises Unavailable when overloaded or cut off from MongoDB.

    A client that leaves (`client_leaves` returns) while it waits for a slot gets ClientLeft. Once its hash has
    begun, the login runs to its end.
    """

    def __init__(
        self,
        users: UserStore,
        accounts: AccountStore,
        passwords: Passwords,
        rules: PasswordRules,
        breached: BreachedPasswords,
        throttle: Throttle,
        devices: Devices,
        sessions: Sessions,
        contacts: Contacts | None,
        country: str,
    ) -> None:
        """Know `contacts` where the deployment has them verified."""
        self._users = users
        self._accounts = accounts
        self._passwords = passwords
        self._rules = rules
        self._breached = breached
        self._throttle = throttle
        self._devices = devices
        self._sessions = sessions
        self._contacts = contacts
        self._country = country  # ISO 3166: of phone numbers without `+`

    async def log_in(self, login: str, password: str, client: Client, client_leaves: ClientLeaves) -> LoggedIn:
        """Return a token. An account's first login is committed by a majority before that.

        `login` is a user name, e-mail address or phone number; `password` is in its normal form. Raises Refusal
        `too_many_attempts`, or `invalid_credentials` for no such user, a wrong password, and a disabled or locked
        account: all look the same, cost the same and take the same time. With the right password of an account
        that waits for its contacts: `contact_not_verified`, which is no login.
        """
        with _counted_by_outcome():
            async with evenly(lambda refusal: refusal.code == "invalid_credentials"):
                with self._passwords.admit():
                    user, bucket = await self._proven(login, password, client, client_leaves)
            token = await self._sessions.open(user, client.device, client.address, bucket, client.source)
        note("login_succeeded", user=user.id, known_device=bucket.is_device)
        return LoggedIn(token, None if bucket.is_device else self._devices.issue(user.id))

    async def change_password(
        self, caller: Caller, current: str, new: str, client: Client, client_leaves: ClientLeaves
    ) -> None:
        """Change the caller's password, and end all other sessions.

        Raises Refusal `too_many_attempts`, `invalid_credentials` (the current password is wrong), `weak_password`,
        `invalid_field`.
        """
        bucket = device(caller.user_id, caller.session_id)
        with self._passwords.admit():
            user = await self._users.find_newest(caller.user_id)
            await self._throttle.count_guess(bucket, client.source)
            password_hash = user.password_hash if user else None
            if not await self._passwords.verify(current, password_hash, client_leaves) or user is None:
                note("password_change_refused", user=caller.user_id)
                raise Refusal("invalid_credentials", "The current password is wrong.")
            await self._throttle.forget(bucket, client.source)
            self._rules.check(new, await self._users.find_personal_words(user.id))
            await self._breached.check(new)
            new_hash = await self._passwords.hash(new, client_leaves)
            actor = str(caller.user_id)
            if not await self._accounts.change_password(user.id, user.password_hash, new_hash, actor):
                raise Refusal("invalid_credentials", "The current password is wrong.")
        note("password_changed", user=user.id)
        await self._sessions.end_others(caller)

    async def _proven(
        self, login: str, password: str, client: Client, client_leaves: ClientLeaves
    ) -> tuple[User, Bucket]:
        """Return the account that this password proves, and where the guess was counted."""
        keys = login_keys(login, self._country)
        user = await self._users.find_by_login(keys)
        if user is None and self._contacts is not None:
            user = await self._contacts.find_by_login(keys)
        elif user is not None and user.epoch < self._sessions.least_epoch(user.id):
            user = await self._users.find_newest(user.id)  # what was read near by is of before a password change
        bucket, failures = await self._counted(user, keys[0][1] if keys else login, client)
        fits = await self._passwords.verify(password, user.password_hash if user else None, client_leaves)
        if user is None or not fits or (user.is_locked and not bucket.is_device):
            await self._failed(user, failures, bucket)
            raise _wrong()
        if not user.is_verified:
            await self._throttle.forget(bucket, client.source)
            note("login_refused", user=user.id, reason="contact_not_verified")
            raise Refusal("contact_not_verified", "Confirm your contact first, with the code that was sent to it.")
        if user.awaits_first_login and not await self._users.mark_first_login(user.id):
            # Logged in, disabled or made staff since: what was read near by is out of date.
            user = await self._users.find_newest(user.id)
        if user is None or not user.is_active:
            note("login_refused", user=user.id if user else None, reason="disabled")
            raise _wrong()
        if self._passwords.is_outdated(user.password_hash):
            new = await self._passwords.hash(password, client_leaves)
            await self._users.replace_hash(user.id, user.password_hash, new)
        return user, bucket

    async def _counted(self, user: User | None, login: str, client: Client) -> tuple[Bucket, int]:
        """Count the guess: on a known device apart from strangers, until it has failed there too often."""
        device_id = self._devices.find(client.cookie, user.id) if user else None
        if user and device_id:
            bucket = device(user.id, device_id)
            failures = await self._throttle.count_guess(bucket, client.source)
            if failures <= DEVICE_FAILURES:
                return bucket, failures
        bucket = strangers(user.id if user else None, login)
        return bucket, await self._throttle.count_guess(bucket, None if device_id else client.source)

    async def _failed(self, user: User | None, failures: int, bucket: Bucket) -> None:
        note("login_refused", user=user.id if user else None, reason="credentials", failures=failures)
        if (
            user is not None
            and user.is_verified
            and not bucket.is_device
            and failures >= LOCKED_AFTER
            and not user.is_locked
        ):
            await self._accounts.lock(user.id)
            note("account_locked", user=user.id)


@contextmanager
def _counted_by_outcome() -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        LOGINS.labels(refusal.code).inc()
        raise
    LOGINS.labels("succeeded").inc()


def _wrong() -> Refusal:
    return Refusal("invalid_credentials", "The user name or the password is wrong.")
