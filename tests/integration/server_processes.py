"""Server processes for the length of a block, and TLS in front of one that has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


@asynccontextmanager
async def process(*command: str | Path, environment: dict[str, str] | None = None) -> AsyncIterator[None]:
    """Run a server for the length of a block."""
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*map(str, command), env=environment, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        server.terminate()
        await server.wait()


@asynccontextmanager
async def tls_in_front(port: int, context: ssl.SSLContext, outer_port: int = 0) -> AsyncIterator[int]:
    """Take TLS at `outer_port` (0: any that is free), hand on what is in it to `port`, and give the outer port."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(forward, "127.0.0.1", outer_port, ssl=context) as terminator:
        yield terminator.sockets[0].getsockname()[1]


async def until_listening(port: int) -> None:
    """Wait until something listens there."""
    async with asyncio.timeout(10):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction of a connection to its end."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
