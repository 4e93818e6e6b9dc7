"""All MongoDB of accounts. The ledger has its own file; both live in the database `identity`."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from uuid import UUID

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from earlybird.access.permissions import CUSTOMER
from earlybird.errors import Refusal
from earlybird.identity.accounts.model import LoginKey, NewUser, User
from earlybird.identity.ledger.model import TRACE_FIELD
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import LINEARIZABLE, NEARBY, Database, Document, outages_as_unavailable
from earlybird.infra.tracing import current_traceparent, traced
from earlybird.metrics import FIRST_LOGINS

LOGIN_FIELDS = dict.fromkeys(("password", "is_active", "is_first_login", "roles", "session_epoch", "is_locked"), 1)
_UNIQUE_FIELDS = {"username": "user name", "email": "e-mail address", "phone": "phone number"}


class UserStore:
    """Accounts. Every method raises Unavailable when MongoDB does not answer."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._newest_users = self._users.with_options(read_concern=LINEARIZABLE)
        # May be a little old. At majority, so what it shows cannot be rolled back.
        self._nearby_users = self._users.with_options(read_preference=NEARBY)

    async def insert(self, user_id: UUID, user: NewUser, password_hash: str, now: datetime) -> None:
        """Add an account. Raises Refusal `duplicate_…` if the user name, e-mail address or phone is taken."""
        async with outages_as_unavailable():
            try:
                await self._users.insert_one(new_account(user_id, user, password_hash, now))
            except DuplicateKeyError as error:
                raise duplicate_error(error) from None  # the driver's message carries the value

    @traced("find user")
    async def find_by_login(self, keys: Sequence[LoginKey]) -> User | None:
        """Find the account of the first of these keys that has one: near by, and on the primary if there is none.

        So people can log in right after they registered, before the secondaries have heard of them, and also if
        the primary was replaced in between.
        """
        async with outages_as_unavailable():
            for users in (self._nearby_users, self._newest_users):
                for field, value in keys:
                    document = await users.find_one({field: value}, LOGIN_FIELDS)
                    if document is not None:
                        return read_user(document)
        return None

    async def find_newest(self, user_id: UUID) -> User | None:
        """Read an account as it surely is now."""
        async with outages_as_unavailable():
            document = await self._newest_users.find_one({"_id": user_id}, LOGIN_FIELDS)
        return None if document is None else read_user(document)

    async def begin_epoch(self, user_id: UUID) -> int:
        """Count that all sessions of this person have ended; return the new count."""
        async with outages_as_unavailable():
            user = await self._users.find_one_and_update(
                {"_id": user_id},
                {"$inc": {"session_epoch": 1}},
                {"session_epoch": 1},
                return_document=ReturnDocument.AFTER,
            )
        return 0 if user is None else int(user["session_epoch"])

    async def replace_hash(self, user_id: UUID, old: str, new: str) -> None:
        """Store the same password hashed with other parameters, unless it has been changed since."""
        async with outages_as_unavailable():
            await self._users.update_one({"_id": user_id, "password": old}, {"$set": {"password": new}})

    async def find_personal_words(self, user_id: UUID) -> list[str]:
        """Return what others may know of a person, and no password may be built from."""
        fields = ("username", "email", "phone", "full_name")
        async with outages_as_unavailable():
            user = await self._users.find_one({"_id": user_id}, dict.fromkeys(fields, 1))
        return [user[field] for field in fields if field in user] if user else []

    @traced("commit first login")
    async def mark_first_login(self, user_id: UUID) -> bool:
        """Commit an active customer's first login, once per life of the account; say whether it was this call.

        The one write on which the order rests: it decides, whatever was read before. It returns when a majority
        has it, and also when another login of the same user got there first (a no-op waits for the majority
        too). A classic update, not a pipeline: MongoDB may log those as whole-document replaces, which the
        sequencer does not see.
        """
        crash_point("login.before_first_login")
        traceparent = current_traceparent()
        trace = {TRACE_FIELD: traceparent} if traceparent else {}
        async with outages_as_unavailable():
            marked = await self._users.update_one(
                {"_id": user_id, "is_first_login": 1, "is_active": 1, "roles": CUSTOMER},
                {
                    "$set": {"is_first_login": 0} | trace,
                    "$currentDate": {"first_login_at": True, "updated_at": True},
                },
            )
        crash_point("login.after_first_login")
        FIRST_LOGINS.inc(marked.matched_count)
        return marked.matched_count == 1


def new_account(user_id: UUID, user: NewUser, password_hash: str, now: datetime) -> Document:
    """Return the document of an account as it begins."""
    return {
        "_id": user_id,
        "username": user.username,
        "email": user.email,
        "phone": user.phone,
        "password": password_hash,
        "full_name": user.full_name,
        "birthday": datetime.combine(user.birthday, time.min, UTC),
        "is_active": 1,
        "is_first_login": 1,
        "roles": [CUSTOMER],
        "created_at": now,
        "updated_at": now,
    }


def read_user(document: Document, *, is_verified: bool = True) -> User:
    """Read LOGIN_FIELDS of an account."""
    return User(
        id=document["_id"],
        password_hash=document["password"],
        is_active=document["is_active"] == 1,
        is_first_login=document["is_first_login"] == 1,
        roles=document["roles"],
        epoch=document.get("session_epoch", 0),
        is_locked=document.get("is_locked", False),
        is_verified=is_verified,
    )


def duplicate_error(error: DuplicateKeyError) -> Refusal:
    """Return the refusal that a unique index of accounts means."""
    return duplicate(next(iter((error.details or {}).get("keyPattern", {})), "username"))


def duplicate(field: str) -> Refusal:
    """Return the refusal of a user name, e-mail address or phone number that another account has."""
    return Refusal(f"duplicate_{field}", f"{field}: this {_UNIQUE_FIELDS[field]} is taken.")
