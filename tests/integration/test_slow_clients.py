"""Clients that never finish what they began are cut off, and nobody else is."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from people import running

from earlybird.infra.http.app import create_web_app
from earlybird.infra.http.protocol import Deadlines
from earlybird.infra.http.server import HttpServer
from earlybird.settings import Settings
from free_ports import free_port

SECONDS = 0.3  # the deadline of these tests
HALF_A_HEAD = b"POST /echo HTTP/1.1\r\nHost: us\r\nContent-Le"
HALF_A_BODY = b'POST /echo HTTP/1.1\r\nHost: us\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"a'
HALF_A_CHUNKED_BODY = b"POST /login HTTP/1.1\r\nHost: us\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
WHOLE = b"GET /slowly HTTP/1.1\r\nHost: us\r\n\r\n"

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A real server with short deadlines; gives connections to it."""
    app, port = create_web_app("test", "1"), free_port()

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @app.get("/slowly")
    async def answer_slowly() -> dict[str, str]:
        await asyncio.sleep(3 * SECONDS)  # the work itself, longer than any deadline
        return {"status": "success"}

    deadlines = Deadlines(head_seconds=SECONDS, body_seconds=SECONDS)
    server = HttpServer(app, Settings(drain_seconds=0, shutdown_seconds=1), port, deadlines=deadlines)
    async with running(server), asyncio.timeout(20):
        yield lambda: asyncio.open_connection("127.0.0.1", port)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, Any]]:
    """Read one answer: its head and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split()[0])
    return head, json.loads(await reader.readexactly(length))


@pytest.mark.parametrize("unfinished", [HALF_A_HEAD, HALF_A_BODY], ids=["head", "body"])
async def test_a_request_that_never_ends_is_answered_408_and_closed(unfinished: bytes, connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(unfinished)
    head, body = await answer(reader)
    assert head.startswith(b"http/1.1 408 ")
    assert b"connection: close" in head
    assert body == {
        "status": "error",
        "message": "The request did not arrive in time.",
        "code": "request_timeout",
    }
    assert await reader.read() == b"", "closed, and nothing more was said"
    writer.close()


async def test_a_request_that_trickles_in_is_cut_off_however_steadily(connect: Connect) -> None:
    reader, writer = await connect()

    async def trickle() -> None:
        writer.write(HALF_A_HEAD)
        while True:
            writer.write(b"X")
            await asyncio.sleep(SECONDS / 10)  # the client's slowness

    trickling = asyncio.create_task(trickle())
    assert (await answer(reader))[0].startswith(b"http/1.1 408 ")
    trickling.cancel()
    writer.close()


async def test_the_deadlines_are_the_clients_and_not_for_our_own_work(connect: Connect) -> None:
    reader, writer = await connect()
    for _ in range(2):  # on one connection, which idles meanwhile from the protocol's point of view
        writer.write(WHOLE)
        assert (await answer(reader))[1] == {"status": "success"}
    writer.close()


@pytest.mark.parametrize("unfinished", [HALF_A_HEAD, HALF_A_BODY, HALF_A_CHUNKED_BODY])
async def test_an_unfinished_second_request_does_not_cost_the_answer_to_the_first(
    unfinished: bytes, connect: Connect
) -> None:
    reader, writer = await connect()
    writer.write(WHOLE + unfinished)
    assert (await answer(reader))[1] == {"status": "success"}
    assert (await answer(reader))[1]["code"] == "request_timeout"
    assert await reader.read() == b"", "then the connection is closed"
    writer.close()
