"""identity's schema, as numbered functions; each may be run again, and beside another run of itself."""

import secrets
from contextlib import suppress

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from earlybird.history.log import create_audit_log, create_filters
from earlybird.identity.contacts.outbox import create_outbox
from earlybird.identity.contacts.store import create_verification
from earlybird.identity.ledger.store import HeadMoved, Ledger
from earlybird.infra.mongo import Database, Document


async def m001_one_account_per_person(database: Database) -> None:
    """`username`, `email` and `phone` are each unique."""
    await database["users"].create_indexes(
        [IndexModel([(field, ASCENDING)], name=field, unique=True) for field in ("username", "email", "phone")]
    )


async def m002_ledger(database: Database) -> None:
    """Each user is in the ledger once at most; the sequencer starts at a moment before the first login.

    Where there are first logins already, no moment is noted: the sequencer reconciles first.
    """
    await database["ledger"].create_indexes([IndexModel([("user_id", ASCENDING)], name="user_id", unique=True)])
    async with database.client.start_session(causal_consistency=True) as session:
        await database.command("ping", session=session)
        head: Document = {"_id": "head", "n": 0, "start_at": session.operation_time}
        if await database["users"].find_one({"first_login_at": {"$exists": True}}, session=session):
            del head["start_at"]
    try:
        await database["head"].insert_one(head)
    except DuplicateKeyError:
        return  # the ledger has begun


async def m003_audit_log(database: Database) -> None:
    """Who changed what."""
    await create_audit_log(database)


async def m004_seals(database: Database) -> None:
    """The ledger has a secret for its commitments, and every entry its seal, while first logins go on.

    What is appended by a version that does not seal, until it is stopped, the next sequencer seals as it begins.
    """
    with suppress(DuplicateKeyError):
        await database["head"].insert_one({"_id": "seals", "secret": secrets.token_bytes(32)})
    with suppress(HeadMoved):  # another run does the same
        await Ledger(database).seal_older()


async def m005_verification(database: Database) -> None:
    """Accounts that wait for their contacts to be verified, codes, messages. Accounts of before are verified."""
    await create_verification(database)
    await create_outbox(database)


async def m006_filters_of_the_audit_log(database: Database) -> None:
    """Whoever looks for a change finds it by index."""
    await create_filters(database)


MIGRATIONS = (
    m001_one_account_per_person,
    m002_ledger,
    m003_audit_log,
    m004_seals,
    m005_verification,
    m006_filters_of_the_audit_log,
)
