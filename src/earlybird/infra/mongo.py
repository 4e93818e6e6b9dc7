"""MongoDB: how to connect, what an outage looks like, how schema changes are applied."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from prometheus_client import Gauge
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import SecondaryPreferred

from earlybird.errors import NotMigrated, Unavailable
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo_pool import PoolMetrics
from earlybird.metrics import MONGODB_PRIMARY
from earlybird.settings import Settings

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Database = AsyncDatabase[Document]
Migration = Callable[[Database], Awaitable[None]]
T = TypeVar("T")
log = structlog.get_logger()
_DUPLICATE_KEY = 11000
_ASK_AGAIN_SECONDS = 0.25

# For a read whose answer is acted upon by itself, outside a transaction: it sees all that was ever acknowledged.
# Right after a failover a majority read does not, even of the primary: the new one has the write, but may not know
# yet that a majority has it. Costs one round trip between members; for one document by a unique field.
LINEARIZABLE = ReadConcern("linearizable")

LONGEST_LAG_SECONDS = 90  # the most that a secondary which is read may be behind: the least that can be asked for
DEPTH_COUNTED = 10_000  # of what waits in an outbox, at most: beyond it, it is just many
# For a read that may be a little old.
NEARBY = SecondaryPreferred(max_staleness=LONGEST_LAG_SECONDS)


@asynccontextmanager
async def connect_mongo(settings: Settings, name: str) -> AsyncIterator[Client]:
    """Open a client for the replica set; it connects at its first use and closes with the block.

    Reads and writes are at `majority`, whatever the URL says: what is not majority-committed can be rolled
    back, and neither the order nor a voucher may rest on it.
    """
    client: Client = AsyncMongoClient(
        settings.mongodb_uri.get_secret_value(),
        appname=f"earlybird-{name}",
        uuidRepresentation="standard",
        tz_aware=True,
        w="majority",
        readConcernLevel="majority",
        retryReads=True,
        retryWrites=True,
        timeoutMS=int(settings.mongodb_timeout_seconds * 1000),
        serverSelectionTimeoutMS=int(settings.mongodb_timeout_seconds * 1000),
        connectTimeoutMS=2000,
        maxPoolSize=settings.mongodb_pool,
        heartbeatFrequencyMS=2000,
        event_listeners=[PoolMetrics()],
    )
    async with client:
        yield client


@asynccontextmanager
async def outages_as_unavailable() -> AsyncIterator[None]:
    """Turn "no answer from the database" into the refusal Unavailable; let every other error out.

    The same holds for a write that no majority has confirmed, as when the primary has lost its majority.
    """
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, NetworkTimeout, WriteConcernError) as error:
        raise Unavailable("The service is not available right now. Try again in a moment.") from error
    except PyMongoError as error:
        if not error.timeout:
            raise
        raise Unavailable("The service is not available right now. Try again in a moment.") from error


async def in_transaction(name: str, database: Database, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
    """Do the work in one transaction: of one moment, on the primary, committed by a majority.

    MongoDB may ask for a repetition after a write conflict or a failover. So the work touches nothing but the
    database, and passes the session to every call. An exception of the work rolls all of it back. A refusal by a
    unique index is a DuplicateKeyError, of many documents too. `name` is that of the crash points around the
    commit.
    """

    async def whole(session: AsyncClientSession) -> T:
        result = await work(session)
        crash_point(f"{name}.before_commit")
        return result

    async with database.client.start_session() as session:
        try:
            result = await session.with_transaction(
                whole,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
            )
        except BulkWriteError as error:
            if all(refused["code"] != _DUPLICATE_KEY for refused in error.details["writeErrors"]):
                raise
            raise DuplicateKeyError("a unique index refused one of several documents", _DUPLICATE_KEY) from error
    crash_point(f"{name}.after_commit")
    return result


async def count_waiting(collection: AsyncCollection[Document], index: str) -> int:
    """Count a collection's documents, up to DEPTH_COUNTED. MongoDB counts in this index and reads no document."""
    return await collection.count_documents({}, limit=DEPTH_COUNTED, hint=index)


async def database_time(database: Database) -> datetime:
    """Return the primary's clock: the one clock by which everything stored is dated and decided."""
    hello = await database.command("hello", codec_options=database.codec_options)
    now: datetime = hello["localTime"]
    return now


async def sample_primary(client: Client) -> Mapping[Gauge, float]:
    """Note which member is primary, as the driver knows it."""
    MONGODB_PRIMARY.clear()
    await ping_primary(client)
    primary = await client.primary
    if primary is not None:
        MONGODB_PRIMARY.labels(f"{primary[0]}:{primary[1]}").set(1)
    return {}


async def ping_primary(client: Client) -> None:
    """Return if the replica set has a primary that answers; raise PyMongoError otherwise."""
    await client.admin.command("ping")


async def apply_migrations(database: Database, migrations: Sequence[Migration]) -> list[str]:
    """Run the numbered, repeatable schema changes in order and note each in `migrations`.

    Each is safe to run again and beside another run of itself, so all of them run every time. Returns the
    names of those that had never run here.
    """
    applied: list[str] = []
    for migration in migrations:
        await migration(database)
        noted = await database["migrations"].update_one(
            {"_id": migration.__name__}, {"$setOnInsert": {"applied_at": datetime.now(UTC)}}, upsert=True
        )
        if noted.upserted_id is not None:
            applied.append(migration.__name__)
    return applied


class Schema:
    """The schema that this version needs: a readiness check, and what workers wait for before they begin.

    A later version's schema will do: it keeps what this one reads (docs/upgrading.md).
    """

    def __init__(self, database: Database, migrations: Sequence[Migration]) -> None:
        self._migrations = database["migrations"]
        self._names = [migration.__name__ for migration in migrations]
        self._is_in_place = False  # once it is, it stays

    async def check(self) -> None:
        """Return if every migration of this version was applied. Raises NotMigrated, PyMongoError."""
        if self._is_in_place:
            return
        applied = await self._migrations.count_documents({"_id": {"$in": self._names}})
        if applied < len(self._names):
            raise NotMigrated("the schema is of an older version: run `earlybird migrate`")
        self._is_in_place = True

    async def wait(self) -> None:
        """Return when `check` passes, however long that takes."""
        while True:
            try:
                return await self.check()
            except (NotMigrated, PyMongoError) as error:
                log.info("waits_for_schema", error=type(error).__name__)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
