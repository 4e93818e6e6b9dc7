"""promotions' schema, as numbered functions; each may be run again, and beside another run of itself."""

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from earlybird.history.log import create_audit_log, create_filters
from earlybird.infra.mongo import Database
from earlybird.promotions.events.outbox import create_outbox
from earlybird.promotions.places.store import create_places
from earlybird.promotions.redemptions.idempotency import create_idempotency_keys
from earlybird.promotions.redemptions.store import create_redemptions
from earlybird.promotions.reports.store import create_reports
from earlybird.promotions.webhooks.queues import create_webhooks
from earlybird.promotions.withdrawals.store import create_withdrawals


async def m001_one_open_campaign(database: Database) -> None:
    """One campaign is open at a time, and those with something left are found by index."""
    await database["campaigns"].create_indexes(
        [
            IndexModel(
                [("is_available", ASCENDING), ("remaining_promotion", ASCENDING)], name="available_remaining"
            ),
            IndexModel(
                [("is_available", ASCENDING)],
                name="one_available",
                unique=True,
                partialFilterExpression={"is_available": 1},
            ),
        ]
    )


async def m002_vouchers(database: Database) -> None:
    """The last line of the promise: nobody twice in a campaign, no position twice."""
    await database["vouchers"].create_indexes(
        [
            IndexModel([("user_id", ASCENDING), ("is_available", ASCENDING)], name="user_available"),
            IndexModel([("campaign_id", ASCENDING), ("user_id", ASCENDING)], name="campaign_user", unique=True),
            IndexModel(
                [("campaign_id", ASCENDING), ("position", ASCENDING)], name="campaign_position", unique=True
            ),
        ]
    )


async def m003_cursor(database: Database) -> None:
    """Judging starts before the first entry of the ledger."""
    try:
        await database["cursor"].insert_one({"_id": "first-logins", "n": 0})
    except DuplicateKeyError:
        return  # judging has begun


async def m004_redemptions(database: Database) -> None:
    """A voucher is spent once; a request under an idempotency key too."""
    await create_redemptions(database)
    await create_idempotency_keys(database)


async def m005_events_and_audit_log(database: Database) -> None:
    """The outbox of events, and the audit log."""
    await create_outbox(database)
    await create_audit_log(database)


async def m006_places(database: Database) -> None:
    """A person's place is found by index."""
    await create_places(database)


async def m007_withdrawals(database: Database) -> None:
    """The vouchers that were withdrawn are found without reading the others."""
    await create_withdrawals(database)


async def m008_reports(database: Database) -> None:
    """Whoever looks at a campaign, its redemptions or a change finds them by index."""
    await create_reports(database)
    await create_filters(database)


async def m009_webhooks(database: Database) -> None:
    """What waits for a webhook is found by index."""
    await create_webhooks(database)


MIGRATIONS = (
    m001_one_open_campaign,
    m002_vouchers,
    m003_cursor,
    m004_redemptions,
    m005_events_and_audit_log,
    m006_places,
    m007_withdrawals,
    m008_reports,
    m009_webhooks,
)
