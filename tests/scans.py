"""Which queries read a whole collection, as MongoDB itself notes it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from earlybird.infra.mongo import connect_mongo
from earlybird.settings import Settings

# The roles: what they ask MongoDB for grows with people. Commands, such as the audit, may read everything.
ROLES = "identity", "promotions", "relay", "granter", "webhooks", "courier"
# Collections that hold one document, or a few; all others grow with people.
SMALL = {
    *("identity.head", "promotions.cursor", "promotions.campaigns"),
    *("promotions.webhook_endpoints", "promotions.webhook_cursor"),  # twenty at most; one
}


@asynccontextmanager
async def no_role_scans(uri: str) -> AsyncIterator[None]:
    """Fail at the end of the block if a role has read a whole collection that grows."""
    async with scans_noted(uri, ROLES) as scans:
        yield
        assert await scans() == set()


@asynccontextmanager
async def scans_noted(uri: str, names: Collection[str]) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """Have MongoDB note the queries that read a whole collection; yield which of these clients asked, and what."""
    async with connect_mongo(Settings(mongodb_uri=uri), "scans") as client:
        databases = [client[name] for name in ("identity", "promotions")]
        for database in databases:
            await database.command({"profile": 1, "filter": {"planSummary": {"$regex": "COLLSCAN"}}})

        async def found() -> set[str]:
            noted = [one for database in databases async for one in database["system.profile"].find()]
            return {
                f"{one['appName']}: {one['ns']}: {one.get('command')}"
                for one in noted
                if one.get("appName", "").removeprefix("earlybird-") in names
                and one["ns"] not in SMALL
                and "$changeStream" not in str(one)  # which reads MongoDB's log
            }

        try:
            yield found
        finally:
            for database in databases:
                await database.command({"profile": 0})
                await database.drop_collection("system.profile")
