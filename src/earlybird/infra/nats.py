"""NATS JetStream: how to connect."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import structlog
from nats.aio.client import Client as NatsClient

from earlybird.settings import Settings

log = structlog.get_logger()


@asynccontextmanager
async def connect_nats(
    settings: Settings, name: str, *, patience_seconds: float | None = None
) -> AsyncIterator[NatsClient]:
    """Open a connection that reconnects for ever, and close it with the block.

    Waits until a first server answers, for ever if no patience is given. Raises TimeoutError after that.
    """

    async def log_error(error: Exception) -> None:
        log.warning("nats_error", error=str(error) or type(error).__name__)

    tls = ssl.create_default_context(cafile=str(settings.nats_ca_file)) if settings.nats_ca_file else None
    async with asyncio.timeout(patience_seconds):
        client = await nats.connect(
            settings.nats_url.get_secret_value().split(","),
            name=f"earlybird-{name}",
            tls=tls,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=log_error,
        )
    try:
        yield client
    finally:
        await client.close()
