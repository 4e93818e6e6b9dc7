"""What the HTTP parser refuses is refused in our envelope, on a real server."""

import asyncio
import json
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import running

from earlybird.infra.http.app import create_web_app
from earlybird.infra.http.protocol import HEAD_LIMIT_BYTES
from earlybird.infra.http.server import HttpServer
from earlybird.settings import Settings
from free_ports import free_port

WHOLE = b"GET /things HTTP/1.1\r\nHost: us\r\n\r\n"
TOO_LONG = b"x" * (HEAD_LIMIT_BYTES + 1)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
BYTES = st.binary(min_size=1, max_size=40).filter(lambda sent: b"\n" not in sent and b"\r" not in sent)
MALFORMED = st.one_of(
    st.builds(
        lambda method: b"%s /things HTTP/1.1\r\nHost: us\r\n\r\n" % method.lower().encode(),
        st.sampled_from(sorted(METHODS)),
    ),
    st.builds(lambda line: b"!%s\r\n\r\n" % line, BYTES),
    st.builds(
        lambda version: b"GET /things HTTP/%s\r\n\r\n" % version.encode(),
        st.text(string.ascii_letters, min_size=1),
    ),
    st.builds(lambda header: b"GET /things HTTP/1.1\r\nHost: us\r\n(%s\r\n\r\n" % header, BYTES),
    st.builds(
        lambda length: b"POST /things HTTP/1.1\r\nHost: us\r\nContent-Length: %s\r\n\r\n" % length.encode(),
        st.text(string.ascii_letters, min_size=1),
    ),
    st.builds(
        lambda size: (
            b"POST /things HTTP/1.1\r\nHost: us\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % size.encode()
        ),
        st.text("ghijkxyz", min_size=1),
    ),
)


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """A real server; its port."""
    app, port = create_web_app("test", "1"), free_port()

    @app.get("/things")
    async def show() -> dict[str, str]:
        return {"status": "success"}

    @app.post("/things")
    async def make(thing: dict[str, Any]) -> dict[str, Any]:
        return thing

    async with (
        running(HttpServer(app, Settings(drain_seconds=0, shutdown_seconds=1), port)),
        asyncio.timeout(60),
    ):
        yield port


async def exchange(port: int, sent: bytes) -> bytes:
    """Send, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    received = await reader.read()
    writer.close()
    return received


def answers(received: bytes) -> list[tuple[int, bytes, Any]]:
    """Split into answers: status, head and JSON of each. Fails on anything that is not a whole answer of ours."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        assert b"content-type: application/json" in head.lower()
        found.append((int(head.split()[1]), head.lower(), json.loads(rest[:length])))
        received = rest[length:]
    return found


def test_a_malformed_request_is_refused_in_our_envelope() -> None:
    with asyncio.Runner() as runner:
        server = served()
        port = runner.run(server.__aenter__())

        @settings(max_examples=150)
        @given(sent=MALFORMED, after_another=st.booleans())
        def refuses(sent: bytes, after_another: bool) -> None:
            *earlier, last = answers(runner.run(exchange(port, WHOLE + sent if after_another else sent)))
            assert [status for status, *_ in earlier] == [200] * after_another
            status, head, body = last
            assert (status, body["code"]) == (400, "malformed_request")
            assert b"connection: close" in head
            assert body.keys() == {"status", "message", "code"}

        try:
            refuses()
        finally:
            runner.run(server.__aexit__(None, None, None))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /things HTTP/1.1\r\nHost: us\r\nX: %s\r\n\r\n" % TOO_LONG,
        b"GET /things HTTP/1.1\r\nHost: us\r\nX: %s" % TOO_LONG,
        b"GET /%s HTTP/1.1\r\nHost: us\r\n\r\n" % TOO_LONG,
    ],
    ids=["header", "header without an end", "address"],
)
async def test_a_head_over_the_limit_is_refused_with_431(sent: bytes) -> None:
    async with served() as port:
        [(status, _, body)] = answers(await exchange(port, sent))
    assert (status, body["code"]) == (431, "headers_too_large")


async def test_head_is_answered_as_get_without_the_body() -> None:
    async with served() as port:
        received = await exchange(port, b"HEAD /things HTTP/1.1\r\nHost: us\r\nConnection: close\r\n\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 20" in head
        assert body == b""


async def test_a_refused_method_names_head_where_there_is_get() -> None:
    async with served() as port:
        [(status, head, _)] = answers(
            await exchange(port, b"PUT /things HTTP/1.1\r\nHost: us\r\nConnection: close\r\n\r\n")
        )
    assert status == 405
    assert b"allow: get, head, post\r\n" in head + b"\r\n"
