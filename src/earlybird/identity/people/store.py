"""All MongoDB of looking at people and at the order of first logins. Nothing is written."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.history.log import COLLECTION as AUDIT_LOG
from earlybird.identity.accounts.model import login_keys
from earlybird.identity.contacts.store import ACCOUNTS as WAITING
from earlybird.identity.people.model import Person, TimelineEntry, person_of, timeline
from earlybird.infra.mongo import Database, Document, outages_as_unavailable
from earlybird.spread import spread

_CHANGES_SHOWN = 200
_HIDDEN = {"password": 0, "full_name": 0, "birthday": 0}


class PeopleStore:
    """People. Every method raises Unavailable when MongoDB does not answer."""

    def __init__(self, database: Database, country: str) -> None:
        self._users = database["users"]
        self._waiting = database[WAITING]
        self._ledger = database["ledger"]
        self._changes = database[AUDIT_LOG]
        self._country = country  # ISO 3166: of phone numbers without `+`

    async def search(self, login: str) -> Person:
        """Find a person by user name, e-mail address, phone number or id. Raises Refusal `account_not_found`."""
        async with outages_as_unavailable():
            for query in self._queries(login):
                for users in (self._users, self._waiting):
                    user = await users.find_one(query, _HIDDEN, sort=[("created_at", -1)])
                    if user is not None:
                        return await self._person(user, is_verified=users is self._users)
        raise _not_found()

    async def find(self, user_id: UUID) -> tuple[Person, Sequence[TimelineEntry]]:
        """Read a person and what happened to the account. Raises Refusal `account_not_found`."""
        async with outages_as_unavailable():
            user = await self._users.find_one({"_id": user_id}, _HIDDEN)
            waits = None if user else await self._waiting.find_one({"_id": user_id}, _HIDDEN)
            if user is None and waits is None:
                raise _not_found()
            person = await self._person(user or waits or {}, is_verified=user is not None)
            changes = self._changes.find({"subject": user_id}).sort("order", -1).limit(_CHANGES_SHOWN)
            verified_at = user.get("verified_at") if user else None
            return person, timeline(person, verified_at, await changes.to_list())

    async def find_names(self, ids: Sequence[UUID]) -> dict[UUID, str | None]:
        """Return the user names of people; None for an erased one. Who is not known is left out."""
        async with outages_as_unavailable():
            found = self._users.find({"_id": {"$in": list(ids)}}, {"username": 1, "erased_at": 1})
            return {user["_id"]: None if "erased_at" in user else user["username"] async for user in found}

    async def curve(self, first: int, last: int | None, points: int) -> tuple[int, list[tuple[int, datetime]]]:
        """Return the newest number of the ledger, and at most so many numbers from `first` on, with their times.

        They are evenly spread, and the last is among them: that many reads by key, however long the ledger is.
        """
        async with outages_as_unavailable():
            newest = await self._ledger.find_one({}, {"_id": 1}, sort=[("_id", -1)])
            head = newest["_id"] if newest else 0
            numbers = spread(first, min(head, last or head), points)
            found = self._ledger.find({"_id": {"$in": numbers}}, {"first_login_at": 1}).sort("_id", 1)
            return head, [(entry["_id"], entry["first_login_at"]) async for entry in found]

    def _queries(self, login: str) -> list[Document]:
        try:
            return [{"_id": UUID(login.strip())}]
        except ValueError:
            return [{field: value} for field, value in login_keys(login, self._country)]

    async def _person(self, user: Document, *, is_verified: bool) -> Person:
        entry = await self._ledger.find_one({"user_id": user["_id"]}, {"_id": 1})
        return person_of(user, entry["_id"] if entry else None, is_verified=is_verified)


def _not_found() -> Refusal:
    return Refusal("account_not_found", "There is no account with this user name, e-mail, phone number or id.")
