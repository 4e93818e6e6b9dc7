"""What the examples need around them: a way to run them, free ports, and a service behind a proxy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from earlybird.stack.child import Child, Program
from earlybird.stack.readiness import port_opens
from free_ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(name: str, command: list[str], port: int, folder: Path, **variables: str) -> AsyncIterator[str]:
    """Run a program until the end of the block, from when its port is open; give its address."""
    program = Program(name, command, port, variables, until_ready=lambda: port_opens(port))
    child = Child(program, folder)
    await child.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await child.stop()


@asynccontextmanager
async def your_service() -> AsyncIterator[tuple[int, list[dict[str, str]]]]:
    """Run a service that answers 200 to everything; give its port, and the headers that it was sent."""
    seen: list[dict[str, str]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[1:-1]
        seen.append({name.lower(): value for name, _, value in (line.partition(": ") for line in head)})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        yield port, seen
        server.close()


def with_ports(text: str, ports: dict[int, int]) -> str:
    """Return an example with other ports; each of its own must be there."""
    for number in ports:
        assert str(number) in text
    marked = text
    for number in ports:
        marked = marked.replace(str(number), f"<{number}>")
    for number, port in ports.items():
        marked = marked.replace(f"<{number}>", str(port))
    return marked


@asynccontextmanager
async def proxy(
    example: str, command: list[str], earlybird: str, folder: Path, **variables: str
) -> AsyncIterator[tuple[httpx2.AsyncClient, list[dict[str, str]]]]:
    """Run a proxy of the examples, `command` and its file; give a client of it, and what your service was sent."""
    port, file = free_port(), folder / example
    async with your_service() as (service, seen):
        ports = {9000: port, 8080: httpx2.URL(earlybird).port or 0, 9001: service}
        file.write_text(with_ports((EXAMPLES / example).read_text(), ports))
        async with (
            running("proxy", [*command, str(file)], port, folder, **variables) as address,
            httpx2.AsyncClient(base_url=address, trust_env=False) as client,
        ):
            yield client, seen
