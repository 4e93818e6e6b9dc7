"""All MongoDB of verification: accounts that nobody has confirmed yet, and the codes that confirm them.

Theory of operation. An account whose contacts are not confirmed is not in `users`. It waits in
`unverified_accounts`, whole, and becomes an account by moving to `users` in one transaction. This is all that the
rest of the system needs: whoever is in `users` may log in, as before, and nobody else is in the ledger.

- A user name is held by the account that waits (unique index), for 24 hours. A contact that is to be confirmed is
  held by nobody until then: any number of accounts may wait for the same one.
- Who confirms first has the contact. The unique indexes of `users` decide, whatever was read before. Of two that
  confirm at the same moment one moves; the other is refused `duplicate_…`, and waits until its day is over.
- There is one code for each contact, whoever asked for it, and a new one replaces the old. It proves the contact
  and names no account: whoever enters it says for which account. So a stranger who registers with somebody's
  address can neither have his account confirmed by its owner nor spoil her code: the newest is good for her.
- A try is counted before the code is looked at, in one update that no other try can come between.
- Code, letter and account are one transaction. So no letter leaves for an account that was not made.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pymongo import DESCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from earlybird.history.log import AuditLog, Change
from earlybird.identity.accounts.model import LoginKey, NewUser, User
from earlybird.identity.accounts.store import LOGIN_FIELDS, duplicate, duplicate_error, new_account, read_user
from earlybird.identity.contacts.model import (
    ACCOUNT_LIFE,
    CODE_LIFE,
    TRIES,
    Channel,
    Contact,
    code_digest,
    fits,
    make_code,
)
from earlybird.identity.contacts.outbox import COURIER, Message, Outbox
from earlybird.identity.contacts.texts import Kind, Language
from earlybird.infra.mongo import Database, Document, database_time, in_transaction, outages_as_unavailable

ACCOUNTS, CODES = "unverified_accounts", "contact_codes"
_OF_WAITING = ("awaits", "language", "expires_at")  # what an account has only while it waits
_NOBODYS = {"salt": bytes(16), "digest": bytes(32)}  # compared with a code where there is none
_ENDED_AT_ONCE = 100
_KEPT_WITHOUT_COURIER = timedelta(days=1)  # an account that should have ended, while no courier runs


class ContactStore:
    """Accounts that wait, and their codes. Every method raises Unavailable when MongoDB does not answer."""

    def __init__(self, database: Database, outbox: Outbox, secret: bytes, channels: tuple[Channel, ...]) -> None:
        """`channels` must be confirmed of a new account; `secret` keys the digests."""
        self._database = database
        self._users = database["users"]
        self._waiting = database[ACCOUNTS]
        self._codes = database[CODES]
        self._outbox = outbox
        self._secret = secret
        self._channels = channels
        self._log = AuditLog(database)

    def contacts(self, user: NewUser) -> list[Contact]:
        """Return what the person must confirm."""
        return [Contact(channel, getattr(user, channel)) for channel in self._channels]

    async def check_names(self, user: NewUser) -> None:
        """Raise Refusal `duplicate_…` if the user name, or a contact taken on trust, is taken."""
        async with outages_as_unavailable():
            await self._check_names(user, await database_time(self._database), None)

    async def insert(self, user_id: UUID, user: NewUser, password_hash: str, language: Language) -> None:
        """Add an account that waits, and a message to each contact. Raises Refusal `duplicate_…`."""

        async def transaction(session: AsyncClientSession) -> None:
            now = await database_time(self._database)
            await self._end({"username": user.username, "expires_at": {"$lte": now}}, session, now)
            await self._check_names(user, now, session)
            waiting = {"awaits": list(self._channels), "language": language, "expires_at": now + ACCOUNT_LIFE}
            document = new_account(user_id, user, password_hash, now) | waiting
            await self._waiting.insert_one(document, session=session)
            for contact in self.contacts(user):
                await self._issue(session, contact, document, now)

        async with outages_as_unavailable():
            try:
                await in_transaction("contact", self._database, transaction)
            except DuplicateKeyError as error:
                raise duplicate_error(error) from None  # the driver's message carries the value

    async def send_another(self, contact: Contact) -> UUID | None:
        """Put another message to a contact that is waited for, to the newest account; return its id, if any."""

        async def transaction(session: AsyncClientSession) -> UUID | None:
            now = await database_time(self._database)
            waiting = {contact.channel: contact.address, "awaits": contact.channel, "expires_at": {"$gt": now}}
            account = await self._waiting.find_one(waiting, sort=[("created_at", DESCENDING)], session=session)
            if account is None:
                return None
            await self._issue(session, contact, account, now)
            user_id: UUID = account["_id"]
            return user_id

        async with outages_as_unavailable():
            return await in_transaction("contact", self._database, transaction)

    async def prove(self, contact: Contact, code: str) -> bytes | None:
        """Count a try; return the digest of the contact's code if this is it, and None otherwise."""
        async with outages_as_unavailable():
            now = await database_time(self._database)
            found = await self._codes.find_one_and_update(
                {"_id": contact.key(self._secret), "tries": {"$lt": TRIES}, "expires_at": {"$gt": now}},
                {"$inc": {"tries": 1}},
            )
        kept: dict[str, Any] = found or _NOBODYS
        is_right = fits(kept["digest"], self._secret, contact, kept["salt"], code)
        return kept["digest"] if is_right and found else None

    async def confirm(self, username: str, contact: Contact, digest: bytes) -> UUID | None:
        """Confirm a contact of an account with a proven code, which is used up; return the account's id.

        With its last contact the account is made. None: no such account waits for this contact, or the code was
        used in between. Raises Refusal `duplicate_…` if somebody else has confirmed the contact, or has a name.
        """

        async def transaction(session: AsyncClientSession) -> UUID | None:
            now = await database_time(self._database)
            if await self._users.find_one({contact.channel: contact.address}, {"_id": 1}, session=session):
                raise duplicate(contact.channel)
            waiting = {"username": username, contact.channel: contact.address, "expires_at": {"$gt": now}}
            account = await self._waiting.find_one(waiting, session=session)
            if account is None:
                return None
            key = {"_id": contact.key(self._secret), "digest": digest}
            used = await self._codes.delete_one(key, session=session)
            if not used.deleted_count:
                return None
            await self._note_confirmed(account, contact.channel, now, session)
            user_id: UUID = account["_id"]
            return user_id

        async with outages_as_unavailable():
            try:
                return await in_transaction("contact", self._database, transaction)
            except DuplicateKeyError as error:
                raise duplicate_error(error) from None

    async def find_by_login(self, keys: list[LoginKey]) -> User | None:
        """Find the account that waits under the first of these keys that has one; of several the newest."""
        async with outages_as_unavailable():
            now = await database_time(self._database)
            for field, value in keys:
                waiting = {field: value, "expires_at": {"$gt": now}}
                found = await self._waiting.find_one(waiting, LOGIN_FIELDS, sort=[("created_at", DESCENDING)])
                if found is not None:
                    return read_user(found, is_verified=False)
        return None

    async def _check_names(self, user: NewUser, now: datetime, session: AsyncClientSession | None) -> None:
        for field in ("username", "email", "phone"):
            taken: Document = {field: getattr(user, field)}
            if field not in self._channels and await self._users.find_one(taken, {"_id": 1}, session=session):
                raise duplicate(field)
        waiting = {"username": user.username, "expires_at": {"$gt": now}}
        if await self._waiting.find_one(waiting, {"_id": 1}, session=session):
            raise duplicate("username")

    async def _issue(
        self, session: AsyncClientSession, contact: Contact, account: Document, now: datetime
    ) -> None:
        """Make a code and put it into the outbox.

        Whoever has confirmed the contact before is told of the attempt instead. The code is made all the same, and
        sent to nobody: so the work, and with it the time, is that of any registration.
        """
        key, salt, code = contact.key(self._secret), secrets.token_bytes(16), make_code(secrets.randbelow)
        fields = {
            "salt": salt,
            "digest": code_digest(self._secret, contact, salt, code),
            "tries": 0,
            "expires_at": now + CODE_LIFE,
        }
        await self._codes.replace_one({"_id": key}, fields, upsert=True, session=session)
        taken = await self._users.find_one({contact.channel: contact.address}, {"_id": 1}, session=session)
        kind: Kind = "taken" if taken else "code"
        told = None if taken else code
        message = Message(contact.channel, contact.address, kind, account["language"], told)
        await self._outbox.put(session, key, account["_id"], message, now)

    async def _note_confirmed(
        self, account: Document, channel: Channel, now: datetime, session: AsyncClientSession
    ) -> None:
        left = [one for one in account["awaits"] if one != channel]
        if left:
            await self._waiting.update_one(
                {"_id": account["_id"]}, {"$set": {"awaits": left, "updated_at": now}}, session=session
            )
            return
        kept = {name: value for name, value in account.items() if name not in _OF_WAITING}
        await self._waiting.delete_one({"_id": account["_id"]}, session=session)
        await self._users.insert_one({**kept, "verified_at": now, "updated_at": now}, session=session)
        change = Change("account.verified", account["_id"], None, {"contacts": list(self._channels)})
        await self._log.record(session, str(account["_id"]), now, [change])

    async def _end(self, which: Document, session: AsyncClientSession, now: datetime) -> list[UUID]:
        return await end_accounts(self._database, which, session, now)


async def end_accounts(
    database: Database, which: Document, session: AsyncClientSession, now: datetime
) -> list[UUID]:
    """Remove accounts that wait, within a transaction, and note it; return their ids. Their names are free."""
    found = database[ACCOUNTS].find(which, {"_id": 1}, session=session).limit(_ENDED_AT_ONCE)
    ended = [account["_id"] async for account in found]
    if ended:
        await database[ACCOUNTS].delete_many({"_id": {"$in": ended}}, session=session)
        changes = [Change("account.ended", user_id, None, {"reason": "not verified"}) for user_id in ended]
        await AuditLog(database).record(session, COURIER, now, changes)
    return ended


async def end_unverified(database: Database) -> list[UUID]:
    """End the accounts that nobody has confirmed in their day, at most 100; return their ids."""

    async def transaction(session: AsyncClientSession) -> list[UUID]:
        now = await database_time(database)
        return await end_accounts(database, {"expires_at": {"$lte": now}}, session, now)

    return await in_transaction("courier", database, transaction)


async def create_verification(database: Database) -> None:
    """Index the accounts that wait, and let old codes go. A migration; safe to repeat.

    The courier ends accounts that wait. Where none runs any more, MongoDB removes them a day later.
    """
    kept = int(_KEPT_WITHOUT_COURIER.total_seconds())
    await database[ACCOUNTS].create_indexes(
        [
            IndexModel("username", name="username", unique=True),
            IndexModel("email", name="email"),
            IndexModel("phone", name="phone"),
            IndexModel("expires_at", name="expires_at", expireAfterSeconds=kept),
        ]
    )
    await database[CODES].create_indexes([IndexModel("expires_at", name="expires_at", expireAfterSeconds=0)])
