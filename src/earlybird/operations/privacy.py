"""What a person may ask for: a copy of all that is kept about them, and to be erased.

Erasing takes the person out and leaves the place: ledger, vouchers and redemptions know an id alone, and the audit
proves as before. Backups hold what they held: docs/runbook.md says how long they are kept.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.errors import Refusal
from earlybird.history.log import AuditLog, Change, shown
from earlybird.identity import DATABASE as IDENTITY
from earlybird.identity.accounts.model import login_keys
from earlybird.identity.contacts.outbox import COLLECTION as MESSAGES
from earlybird.identity.contacts.store import ACCOUNTS as WAITING
from earlybird.infra.mongo import Client, Document, database_time, in_transaction
from earlybird.promotions import DATABASE as PROMOTIONS

_PERSONAL = ("username", "email", "phone", "password", "full_name", "birthday")
_SECRET = ("password",)
_OF_MESSAGE = ("channel", "created_at", "expires_at", "attempts")  # what it says is sealed, and secret


async def export_person(client: Client, login: str, country: str) -> dict[str, Any]:
    """Return all that is kept about a person, as JSON has it. Raises Refusal `account_not_found`."""
    user, _ = await _find(client, login, country)
    parts = {
        "ledger": (IDENTITY, "ledger", "user_id"),
        "vouchers": (PROMOTIONS, "vouchers", "user_id"),
        "redemptions": (PROMOTIONS, "redemptions", "user_id"),
        "changes": (IDENTITY, "audit_log", "subject"),
    }
    return {
        "account": shown({name: value for name, value in user.items() if name not in _SECRET}),
        **{
            name: [shown(entry) for entry in await client[database][collection].find({key: user["_id"]}).to_list()]
            for name, (database, collection, key) in parts.items()
        },
        "messages": [
            shown({name: message[name] for name in _OF_MESSAGE})
            for message in await client[IDENTITY][MESSAGES].find({"user_id": user["_id"]}).to_list()
        ],
    }


async def erase_person(client: Client, login: str, country: str, actor: str) -> UUID:
    """Take a person out of their account, for good, and return its id. Raises Refusal `account_not_found`."""
    database = client[IDENTITY]
    user, where = await _find(client, login, country)
    user_id: UUID = user["_id"]

    async def transaction(session: AsyncClientSession) -> None:
        now: datetime = await database_time(database)
        await AuditLog(database).record(session, actor, now, [Change("account.erased", user_id, None, None)])
        await database[MESSAGES].delete_many({"user_id": user_id}, session=session)
        if where == WAITING:  # no account yet: nothing refers to it
            await database[WAITING].delete_one({"_id": user_id}, session=session)
            return
        gone = dict.fromkeys(_PERSONAL, "")
        # Unique, and no form of a user name, an e-mail address or a phone number: nobody can log in with it.
        kept = dict.fromkeys(("username", "email", "phone"), f"erased:{user_id}")
        fields = {**kept, "is_active": 0, "erased_at": now, "updated_at": now}
        await database["users"].update_one(
            {"_id": user_id},
            {"$set": fields, "$unset": {name: value for name, value in gone.items() if name not in kept}},
            session=session,
        )

    await in_transaction("account", database, transaction)
    return user_id


async def _find(client: Client, login: str, country: str) -> tuple[Document, str]:
    """Return an account, and the collection that it is in; of several that wait for one contact the newest."""
    for collection in ("users", WAITING):
        for field, value in login_keys(login, country):
            user = await client[IDENTITY][collection].find_one({field: value}, sort=[("created_at", -1)])
            if user is not None:
                return user, collection
    raise Refusal("account_not_found", "There is no account with this user name, e-mail address or phone number.")
