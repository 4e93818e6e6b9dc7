"""The real Envoy with short deadlines: it refuses what is slow, malformed or too large; no service hears of it."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earlybird.stack.balancer import balancer
from earlybird.stack.child import Child, Program
from earlybird.stack.routing import Tls
from free_ports import free_port

SECONDS = 0.2  # the time of one request in these tests
PAUSE = 0.05  # a client's, between two pieces
ROUTES = [
    *("/register", "/login", "/account", "/voucher", "/voucher/redemptions", "/voucher/reservations/7/confirm"),
    *("/campaigns", "/campaigns/7/open", "/nowhere"),
]
JSON = b"Host: us\r\nContent-Type: application/json\r\n"
# What a slow client sends after the request line. It repeats the second part for ever.
SLOW = {
    "no body": (JSON + b"Content-Length: 100\r\n\r\n", b""),
    "half a body": (JSON + b'Content-Length: 100\r\n\r\n{"a":1', b""),
    "half a body, expecting to be asked": (JSON + b'Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{"a"', b""),
    "half of a body in chunks": (JSON + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b""),
    "a body that trickles": (JSON + b"Content-Length: 10000\r\n\r\n", b"x"),
    "chunks that trickle": (JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "half a head": (JSON[:20], b""),
    "a head that trickles": (JSON + b"X: ", b"x"),
}
PLACE = b"POST /login HTTP/1.1\r\n"
MALFORMED = {
    "lower case": b"get /voucher HTTP/1.1\r\nHost: us\r\n\r\n",
    "no method": b"/voucher HTTP/1.1\r\nHost: us\r\n\r\n",
    "no host": b"GET /voucher HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET /voucher HTTP/1.1\r\nHost: us\r\nbad header\r\n\r\n",
    "a length that is no number": PLACE + JSON + b"Content-Length: ten\r\n\r\n",
    "two lengths": PLACE + JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length and chunks": PLACE + JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": PLACE + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "an unknown transfer coding": PLACE + JSON + b"Transfer-Encoding: gzip\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@dataclass
class Front:
    """Envoy before one service that notes what it hears."""

    runner: asyncio.Runner
    port: int
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer health checks; note anything else and hang up, with an answer to a path that is "/account"."""
        head = await reader.read(65536)
        if head and not head.startswith(b"GET /readyz "):
            self.heard.append(head)
        if head.startswith((b"GET /readyz ", b"GET /account ")):
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def exchange(self, sent: bytes, again: bytes = b"") -> bytes:
        """Send, and read until Envoy closes. Repeat `again` until then."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)

        async def trickle() -> None:
            while again:
                writer.write(again)
                await asyncio.sleep(PAUSE)

        writer.write(sent)
        trickling = asyncio.create_task(trickle())
        received = b""
        try:
            async with asyncio.timeout(20):
                while piece := await reader.read(65536):
                    received += piece
        except ConnectionResetError:
            pass  # what the client still sent met a closed connection, after the answer
        finally:
            trickling.cancel()
            writer.close()
        return received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("front")
    port, upstream = free_port(), free_port()
    with asyncio.Runner() as runner:
        front, service = Front(runner, port), Child(Program("any", [], upstream), folder)
        envoy = Child(balancer(folder, port, [service], [service], request_seconds=SECONDS), folder)
        server = runner.run(asyncio.start_server(front.serve, "127.0.0.1", upstream))
        runner.run(envoy.start())
        try:
            yield front
        finally:
            runner.run(envoy.stop())
            server.close()


def refusal(received: bytes) -> tuple[int, str]:
    """Check that this is one whole answer in our envelope that ends the connection; return status and code."""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/json" in lines, received
    assert b"connection: close" in lines
    assert b"content-length: %d" % len(body) in lines
    found: dict[str, Any] = json.loads(body)
    assert found.keys() == {"status", "message", "code"}
    assert found["status"] == "error"
    return int(lines[0].split()[1]), found["code"]


@settings(max_examples=24, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES),
    method=st.sampled_from(["POST", "PATCH", "PUT"]),
    way=st.sampled_from(sorted(SLOW)),
)
def test_a_slow_request_is_answered_408_and_closed_on_every_route(
    front: Front, route: str, method: str, way: str
) -> None:
    front.heard.clear()
    start, again = SLOW[way]
    loop = front.runner.get_loop()
    began = loop.time()
    received = front.runner.run(front.exchange(f"{method} {route} HTTP/1.1\r\n".encode() + start, again))
    assert refusal(received) == (408, "request_timeout")
    assert loop.time() - began >= SECONDS
    assert front.heard == []


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_in_our_envelope(front: Front, sent: bytes) -> None:
    front.heard.clear()
    assert refusal(front.runner.run(front.exchange(sent))) == (400, "malformed_request")
    assert front.heard == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(min_size=1, max_size=60))
def test_whatever_comes_is_refused_in_our_envelope_or_closed(front: Front, sent: bytes) -> None:
    received = front.runner.run(front.exchange(sent + b"\r\n\r\n"))
    assert not received or refusal(received) in {(400, "malformed_request"), (408, "request_timeout")}


@pytest.mark.parametrize(
    "head", [b"GET /voucher HTTP/1.1\r\nHost: us\r\nX: %s\r\n\r\n", b"GET /%s HTTP/1.1\r\nHost: us\r\n\r\n"]
)
def test_a_head_over_the_limit_is_refused_with_431(front: Front, head: bytes) -> None:
    received = front.runner.run(front.exchange(head % (b"x" * 40_000)))
    assert refusal(received) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("path", "status"), [("/login", 400), ("/register?a=1", 400), ("/voucher/redemptions", 413)]
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_over_the_limit_is_refused_as_the_service_refuses_it(
    front: Front, path: str, status: int, framing: str
) -> None:
    front.heard.clear()
    body = b"x" * (16 * 1024 + 1)
    rest = (
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        if framing == "length"
        else b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    )
    received = front.runner.run(front.exchange(f"POST {path} HTTP/1.1\r\n".encode() + JSON + rest))
    assert refusal(received) == (status, "body_too_large")
    assert front.heard == []


def test_an_idle_connection_is_closed_without_a_word(front: Front) -> None:
    assert front.runner.run(front.exchange(b"")) == b""


def test_a_client_cannot_have_a_request_sent_twice(front: Front) -> None:
    front.heard.clear()
    sent = b"POST /register HTTP/1.1\r\nConnection: close\r\nX-Envoy-Retry-On: reset\r\nX-Envoy-Max-Retries: 5\r\n"
    received = front.runner.run(front.exchange(sent + JSON + b"Content-Length: 2\r\n\r\n{}"))
    assert refusal(received) == (503, "unavailable")
    assert len(front.heard) == 1, "the service hung up on it"


def test_two_requests_in_one_packet_are_answered_in_their_order(front: Front) -> None:
    request = b"GET %s HTTP/1.1\r\nHost: us\r\n%s\r\n"
    sent = request % (b"/account", b"") + request % (b"/nowhere", b"Connection: close\r\n")
    received = front.runner.run(front.exchange(sent))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 404 " in received


def test_http_1_0_is_served(front: Front) -> None:
    assert front.runner.run(front.exchange(b"GET /account HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.")


def test_who_sends_a_request_is_said_by_the_balancer_alone(front: Front) -> None:
    front.heard.clear()
    forged = b"X-Forwarded-For: 203.0.113.7\r\nX-Client-Address: 203.0.113.8\r\nX-Real-IP: 203.0.113.9\r\n"
    received = front.runner.run(
        front.exchange(b"GET /voucher HTTP/1.1\r\nHost: us\r\nConnection: close\r\n" + forged + b"\r\n")
    )
    assert received.startswith(b"HTTP/1.1 503 ")
    addresses = {
        line.partition(b": ")[2]
        for head in front.heard
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"x-client-address: ")
    }
    assert addresses == {b"127.0.0.1"}


async def test_tls_is_served_with_the_given_certificate(tmp_path: Path) -> None:
    authority, port, secure = trustme.CA(), free_port(), free_port()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    tls = Tls(secure, tmp_path / "certificate.pem", tmp_path / "key.pem")
    away = [Child(Program("away", [], free_port()), tmp_path)]
    envoy = Child(balancer(tmp_path, port, away, away, tls=tls), tmp_path)
    await envoy.start()
    try:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            async with httpx2.AsyncClient(verify=context, trust_env=False) as http:
                answer = await http.get(f"https://127.0.0.1:{secure}/nowhere")
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        async with httpx2.AsyncClient(trust_env=False) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(f"https://127.0.0.1:{secure}/nowhere")
    finally:
        await envoy.stop()
