"""The client against a server that fails as it is told."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from earlybird.client import AsyncClient, Call, Client, Refused, Retries, Unavailable, api

QUICK = Retries(tries=4, seconds=30, first_pause_seconds=0.001, longest_pause_seconds=0.002)
VOUCHER = {"description": "30 % off", "discount": 30, "expire_at": "2026-12-01T00:00:00+00:00"}
FOUND = (200, {"status": "success", "voucher": VOUCHER})
REDEMPTION = {
    "id": "019ab2f0-6c1e-7d3a-9b52-3f1f0c6a7e11",
    "order_id": "topup-1",
    "amount": 100,
    "discount_amount": 30,
    "payable_amount": 70,
    "currency": "VND",
    "redeemed_at": "2026-12-01T00:00:00+00:00",
}
HANG_UP: tuple[int, dict[str, Any]] = (0, {})
BUSY = (503, {"status": "error", "code": "overloaded", "message": "Too much."})
BROKEN = (500, {"status": "error", "code": "internal", "message": "Broken."})
AWAY = (503, {"status": "error", "code": "unavailable", "message": "Away."})
Send = Callable[[str, Call[Any]], Any]


@dataclass
class Server:
    """Gives these answers, one after another, and notes what it was asked."""

    url: str = ""
    script: Sequence[tuple[int, dict[str, Any]]] = ()
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.asked.append((f"{self.command} {self.path}", {k.lower(): v for k, v in self.headers.items()}))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = told.script[len(told.asked) - 1]
            if status == 0:
                self.close_connection = True
                return
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Set-Cookie", "earlybird_device=a-device; Path=/login; HttpOnly")
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # as the library names it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        told.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield told
        finally:
            http.shutdown()
            thread.join()


def send(url: str, call: Call[Any]) -> Any:
    with Client(url, token="a token", headers={"X-Client-Address": "203.0.113.7"}, retries=QUICK) as client:
        return client.send(call)


def send_async(url: str, call: Call[Any]) -> Any:
    async def work() -> Any:
        async with AsyncClient(url, headers={"X-Client-Address": "203.0.113.7"}, retries=QUICK) as client:
            return await client.as_("a token").send(call)

    return asyncio.run(work())


BOTH = pytest.mark.parametrize("send", [send, send_async])


@BOTH
def test_a_purchase_is_sent_again_under_the_same_key_after_every_kind_of_failure(
    server: Server, send: Send
) -> None:
    in_flight = (409, {"status": "error", "code": "request_in_flight", "message": "Wait."})
    server.script = [HANG_UP, AWAY, in_flight, (200, {"status": "success", "redemption": REDEMPTION})]
    done = send(server.url, api.redeem(api.Purchase("topup-1", 100, "VND")))
    assert done.payable_amount == 70
    assert len({headers["idempotency-key"] for _, headers in server.asked}) == 1
    assert [headers["authorization"] for _, headers in server.asked] == ["Bearer a token"] * 4
    assert {headers["x-client-address"] for _, headers in server.asked} == {"203.0.113.7"}


@BOTH
def test_an_account_is_asked_for_again_only_while_the_service_is_too_busy_to_begin(
    server: Server, send: Send
) -> None:
    ada = {"username": "ada", "email": "ada@example.com", "phone": "+84912345678", "full_name": "Ada"}
    registration = api.register(**ada, password="correct horse battery", birthday="1990-12-10")
    server.script = [BUSY, BUSY, HANG_UP, FOUND]
    with pytest.raises(Unavailable):
        send(server.url, registration)
    assert len(server.asked) == 3


@BOTH
def test_it_gives_up_after_so_many_tries_and_at_once_when_another_try_is_no_use(
    server: Server, send: Send
) -> None:
    server.script = [AWAY] * 9
    with pytest.raises(Unavailable, match="Away"):
        send(server.url, api.voucher())
    assert len(server.asked) == QUICK.tries
    server.asked.clear()
    server.script = [BROKEN] * 9
    with pytest.raises(Refused) as refused:
        send(server.url, api.voucher())
    assert (refused.value.code, refused.value.status, len(server.asked)) == ("internal", 500, 1)


@BOTH
def test_nobody_listening_is_unavailable(server: Server, send: Send) -> None:
    with pytest.raises(Unavailable, match="ConnectError"):
        send("http://127.0.0.1:1", api.voucher())


def test_a_cookie_of_one_call_never_goes_with_another(server: Server) -> None:
    server.script = [(200, {"status": "success", "token": "t"}), FOUND, (200, {"status": "success", "token": "t"})]
    with Client(server.url) as client:
        first = client.send(api.log_in("ada", "correct horse battery"))
        client.send(api.voucher())
        client.send(api.log_in("ada", "correct horse battery", first.device))
    assert first.device == "a-device"
    cookies = [headers.get("cookie") for _, headers in server.asked]
    assert cookies == [None, None, "earlybird_device=a-device"]


@BOTH
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Server, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.script = [FOUND]
    assert send(server.url, api.voucher()).discount == 30


@BOTH
def test_the_service_judges_a_header_of_any_characters_and_one_with_a_line_break_is_never_sent(
    server: Server, send: Send
) -> None:
    server.script = [FOUND]
    send(server.url, api.voucher().with_headers({"User-Agent": "café"}))
    assert server.asked[0][1]["user-agent"].encode("latin-1").decode() == "café"
    for value in ("a\nX-Client-Address: 1", "a\r\nb", "a\x00b"):
        with pytest.raises(Unavailable, match="LocalProtocolError"):
            send(server.url, api.voucher().with_headers({"X-Other": value}))
    assert len(server.asked) == 1


class NoneWanted(Retries):
    """Fails when it is asked for the pause before another try."""

    def pause(self, *_: object) -> float | None:
        raise AssertionError("another try is no use")


def test_what_cannot_be_sent_at_all_is_not_tried_again(server: Server) -> None:
    with Client(server.url, token="a\nb", retries=NoneWanted()) as client, pytest.raises(Unavailable):
        client.send(api.voucher())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url", ["earlybird.example", "localhost:8000", "ftp://a", "http://", "", "http://a:secret@b:port"]
)
def test_an_address_that_is_none_is_refused_at_once_and_not_repeated(kind: Callable[[str], Any], url: str) -> None:
    with pytest.raises(ValueError, match="address of the API") as refused:
        kind(url)
    assert "secret" not in str(refused.value)


def test_views_share_connections_and_end_with_their_client(server: Server) -> None:
    server.script = [FOUND, FOUND]
    client = Client(server.url)
    view = client.as_("a token")
    view.send(api.voucher())
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        view.send(api.voucher())


def test_threads_may_share_a_client_and_each_speaks_in_its_own_name(server: Server) -> None:
    people = [f"token-{i}" for i in range(32)]
    server.script = [FOUND] * len(people)
    with Client(server.url) as client, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda token: client.as_(token).send(api.voucher()), people))
    assert len(found) == len(people)
    assert {headers["authorization"] for _, headers in server.asked} == {f"Bearer {token}" for token in people}
