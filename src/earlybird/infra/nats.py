"""NATS JetStream: how to connect, how to publish many."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats
import structlog
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext

from earlybird.infra.crash import crash_point
from earlybird.settings import Settings

log = structlog.get_logger()
REQUEST_SECONDS = 2  # a worker sends a request again after this: a stream without a leader answers none


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be published."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]


@asynccontextmanager
async def connect_nats(
    settings: Settings, name: str, *, patience_seconds: float | None = None
) -> AsyncIterator[NatsClient]:
    """Open a connection that reconnects for ever, and close it with the block.

    Waits until a first server answers, for ever if no patience is given. Raises TimeoutError after that. When a
    server ends an open connection with an error (its permission has expired, there are too many) nats-py closes it
    for good, and every call raises ConnectionClosedError: a worker lets that out, to end its process.
    """

    async def log_error(error: Exception) -> None:
        log.warning("nats_error", error=str(error) or type(error).__name__)

    async with asyncio.timeout(patience_seconds):
        client = await nats.connect(
            settings.nats_url.get_secret_value().split(","),
            name=f"earlybird-{name}",
            tls=_tls(settings),
            user_credentials=settings.nats_credentials_file,
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


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Return whom to trust, and who we are; None for the defaults. Raises OSError for a bad file."""
    if not (settings.nats_ca_file or settings.nats_certificate_file):
        return None
    context = ssl.create_default_context(cafile=settings.nats_ca_file)
    if settings.nats_certificate_file:
        context.load_cert_chain(settings.nats_certificate_file)
    return context


async def publish_in_order(jetstream: JetStreamContext, messages: Sequence[Message]) -> None:
    """Publish all, in this order, all in flight at once; return when the stream has acknowledged every one.

    Raises the first refusal or time-out (nats.errors.Error); any of the others may be in the stream then. Not by
    `publish_async`: there a refusal never reaches the caller, who waits until the time is over.
    """

    async def publish(message: Message) -> None:
        await jetstream.publish(message.subject, message.payload, headers=dict(message.headers))
        crash_point("publish.one_acknowledged")

    # Tasks begin in the order in which they are made, and each writes its message before it first waits.
    tasks = [asyncio.create_task(publish(message)) for message in messages]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
