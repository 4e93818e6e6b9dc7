"""Valkey: how to connect. It is never the record of anything: its users treat an outage as a miss."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from earlybird.settings import Settings

# More than are used at once: one for all readers, and what VoucherCache and redemptions let write together.
_CONNECTIONS = 16


@asynccontextmanager
async def connect_valkey(settings: Settings, name: str) -> AsyncIterator[Redis]:
    """Open a client that connects at its first use and closes with the block; it never retries by itself."""
    pool = BlockingConnectionPool.from_url(
        settings.valkey_url.get_secret_value(),
        client_name=f"earlybird-{name}",
        max_connections=_CONNECTIONS,
        timeout=settings.valkey_timeout_seconds,
        socket_timeout=settings.valkey_timeout_seconds,
        socket_connect_timeout=settings.valkey_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()
