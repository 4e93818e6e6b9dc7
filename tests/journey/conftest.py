"""One stack for the whole tier; tests that need a fresh one start it themselves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from earlybird.infra.mongo import Client, connect_mongo
from earlybird.settings import Settings
from journey.customers import AT_ONCE
from journey.stack_client import RunningStack, running_stack

# The roles: what they ask MongoDB for grows with people. Commands, such as the audit, may read everything.
ROLES = "identity", "promotions", "relay", "granter", "courier"
# Collections that hold one document, or a few; all others grow with people.
SMALL = {
    *("identity.head", "promotions.cursor", "promotions.campaigns"),
    *("promotions.webhook_endpoints", "promotions.webhook_cursor"),  # twenty at most; one
}


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A running stack; at the end it must stop by SIGTERM with exit code 0 and leave no process.

    Whatever the tests make the roles do, no query of theirs may read a whole collection that grows.
    """
    async with running_stack(tmp_path_factory.mktemp("stack")) as stack, scans_noted(stack) as scans:
        yield stack
        assert await scans() == set()


@asynccontextmanager
async def scans_noted(stack: RunningStack) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """Have MongoDB note each query that reads a whole collection; yield who did that, and where."""
    settings = Settings(mongodb_uri=stack.file["mongodb_uri"])
    async with connect_mongo(settings, "test") as client:
        databases = [client[name] for name in ("identity", "promotions")]
        for database in databases:
            await database.command({"profile": 1, "filter": {"planSummary": {"$regex": "COLLSCAN"}}})

        async def found() -> set[str]:
            noted = [one for database in databases async for one in database["system.profile"].find()]
            return {
                f"{one['appName']}: {one['ns']}: {one.get('command')}"
                for one in noted
                if one.get("appName", "").removeprefix("earlybird-") in ROLES
                and one["ns"] not in SMALL
                and "$changeStream" not in str(one)  # which reads MongoDB's log
            }

        yield found


@pytest.fixture
async def http(stack: RunningStack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the one address."""
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx2.AsyncClient(base_url=stack.url, trust_env=False, timeout=30, limits=limits) as client:
        yield client


@pytest.fixture
async def mongo(stack: RunningStack) -> AsyncIterator[Client]:
    """A client of the stack's MongoDB."""
    async with connect_mongo(Settings(mongodb_uri=stack.file["mongodb_uri"]), "test") as client:
        yield client
