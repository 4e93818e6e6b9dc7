"""When a server truly answers. Each probe returns once it does, and tries for as long as it is let.

The limit of time, and noticing that the process has ended, are `child`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import nats
import nats.errors
import nats.js.errors
import redis.asyncio
import redis.exceptions
from nats.aio.client import Client as NatsClient
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

PAUSE_SECONDS = 0.05
ATTEMPT_SECONDS = 2


async def repeat_until(attempt: Callable[[], Awaitable[bool]]) -> None:
    """Repeat an attempt until it says True."""
    while not await attempt():  # noqa: ASYNC110 - another process can set no event here
        await asyncio.sleep(PAUSE_SECONDS)


async def port_opens(port: int) -> None:
    """Wait until something accepts connections: costs next to nothing while the server is starting."""

    async def connect() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await repeat_until(connect)


def mongod_client(port: int, login: str = "") -> AsyncMongoClient[dict[str, object]]:
    """Return a client of this one mongod, whatever its part in the replica set; `login` is `user:password`."""
    uri = f"mongodb://{login}@127.0.0.1:{port}/?authSource=admin" if login else f"mongodb://127.0.0.1:{port}/"
    return AsyncMongoClient(uri, directConnection=True, serverSelectionTimeoutMS=ATTEMPT_SECONDS * 1000)


async def mongod_is_member(port: int) -> None:
    """Wait until a mongod is the primary or a secondary of its replica set."""
    await port_opens(port)
    async with mongod_client(port) as client:

        async def is_member() -> bool:
            try:
                hello = await client.admin.command("hello")
            except PyMongoError:
                return False
            return bool(hello["isWritablePrimary"] or hello["secondary"])

        await repeat_until(is_member)


async def jetstream_answers(url: str, monitor_port: int) -> None:
    """Wait until a NATS server is healthy (in a cluster: in touch with the leader) and its JetStream answers.

    `/healthz` also waits for the streams that it holds to be there and up to date.
    """
    await http_answers(f"http://127.0.0.1:{monitor_port}/healthz", 200)

    async def is_answered() -> bool:
        client = NatsClient()
        try:
            await client.connect(url, allow_reconnect=False, connect_timeout=ATTEMPT_SECONDS, error_cb=_ignore)
            await client.jetstream(timeout=ATTEMPT_SECONDS).account_info()
        except (OSError, TimeoutError, nats.errors.Error, nats.js.errors.Error):
            return False
        finally:
            await client.close()  # also what a failed connect has left open
        return True

    await repeat_until(is_answered)


async def valkey_answers(url: str) -> None:
    """Wait until Valkey answers PING."""
    await port_opens(httpx2.URL(url).port or 6379)
    async with redis.asyncio.Redis.from_url(url, socket_timeout=ATTEMPT_SECONDS) as client:

        async def pong() -> bool:
            try:
                return bool(await client.ping())
            except redis.exceptions.RedisError:
                return False

        await repeat_until(pong)


async def http_answers(url: str, status: int) -> None:
    """Wait until GET `url` is answered with `status`."""
    address = httpx2.URL(url)
    await port_opens(address.port or 80)
    # What we ask speaks no TLS: verify=False saves reading the certificates of all authorities.
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=ATTEMPT_SECONDS) as client:

        async def is_answered() -> bool:
            try:
                return (await client.get(address)).status_code == status
            except httpx2.HTTPError:
                return False

        await repeat_until(is_answered)


async def _ignore(_: Exception) -> None:
    """An attempt that fails is repeated; that is all there is to say about it."""
