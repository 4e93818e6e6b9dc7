"""The identity service on the real servers, in this process, on a loop of its own, as hypothesis needs it."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from earlybird.access.revocation_feed import RevocationFeed
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import build_identity_app, migrate_identity
from earlybird.identity.passwords.hashing import Passwords
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.mongo import Database, connect_mongo
from earlybird.infra.valkey import connect_valkey
from earlybird.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class IdentityService:
    """The service, without people, and its database."""

    _runner: asyncio.Runner
    _http: httpx2.AsyncClient
    database: Database

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def post(self, path: str, content: bytes, content_type: str = "application/json") -> httpx2.Response:
        """Send; the answer comes within five seconds."""

        async def send() -> httpx2.Response:
            async with asyncio.timeout(5):
                return await self._http.post(path, content=content, headers={"Content-Type": content_type})

        return self.run(send())


@contextmanager
def identity_service(settings: Settings) -> Iterator[IdentityService]:
    """Run the service with the cheapest hashes."""
    passwords = Passwords(memory_kib=8, iterations=1, slots=2, queue_seconds=10)
    with asyncio.Runner() as runner, closing(passwords):
        stack = AsyncExitStack()
        try:
            client = runner.run(stack.enter_async_context(connect_mongo(settings, "test")))
            valkey = runner.run(stack.enter_async_context(connect_valkey(settings, "test")))
            runner.run(migrate_identity(settings))
            database = client["identity"]
            runner.run(database["users"].delete_many({}))
            keys, feed = KeyFolder.of(settings), RevocationFeed(settings, "test")
            app = build_identity_app(settings, UserStore(database), database, valkey, passwords, keys, feed)
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            http = httpx2.AsyncClient(transport=transport, base_url="http://identity")
            yield IdentityService(runner, runner.run(stack.enter_async_context(http)), database)
        finally:
            runner.run(stack.aclose())
