"""One stack for the whole tier; tests that need a fresh one start it themselves."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from earlybird.infra.mongo import Client, connect_mongo
from earlybird.settings import Settings
from journey.customers import AT_ONCE
from journey.stack_client import RunningStack, running_stack
from scans import no_role_scans


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A running stack; at the end it must stop by SIGTERM with exit code 0 and leave no process.

    Whatever the tests make the roles do, no query of theirs may read a whole collection that grows.
    """
    async with (
        running_stack(tmp_path_factory.mktemp("stack")) as stack,
        no_role_scans(stack.file["mongodb_uri"]),
    ):
        yield stack


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
