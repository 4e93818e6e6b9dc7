"""What is wrong with a request is said by its field, whatever the field is called, and in one form."""

import json
import os
from functools import cache
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI, Header
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from earlybird.identity.accounts.shapes import Registration
from earlybird.identity.logins.routes import Login
from earlybird.infra.http.app import bearer_token, create_web_app
from earlybird.infra.http.gate import Gate
from earlybird.infra.http.refusals import BODY_LIMIT_BYTES
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.promotions.campaigns.shapes import CampaignChanges, NewCampaign
from earlybird.promotions.redemptions.shapes import Purchase
from earlybird.promotions.withdrawals.shapes import NewWithdrawal

PLACES = ["body", "query", "path", "header", "cookie"]
BODIES: dict[str, tuple[type, dict[str, Any]]] = {
    "/register": (
        Registration,
        {
            "username": "ada",
            "email": "ada@example.com",
            "phone": "+84912345678",
            "password": "correct horse battery",
            "full_name": "Ada",
            "birthday": "1990-12-10",
        },
    ),
    "/login": (Login, {"username": "ada", "password": "correct horse battery"}),
    "/campaigns": (NewCampaign, {"name": "Launch", "discount": 30, "number_of_promotion": 100}),
    "/changes": (CampaignChanges, {"name": "Launch"}),
    "/withdrawals": (NewWithdrawal, {"reason": "a bot"}),
    "/redemptions": (Purchase, {"order_id": "topup-1", "amount": 100_000, "currency": "VND"}),
}


def application() -> FastAPI:
    """Return an application with every body that we take, and nothing behind it."""
    app = create_web_app("test", "1")
    app.router.route_class = StrictRoute
    for path, (shape, _) in BODIES.items():

        async def take(body: Any) -> dict[str, str]:
            return {"status": "success"}

        take.__annotations__["body"] = shape
        app.post(path)(take)

    @app.post("/things/{thing_id:uuid}")
    async def change(thing_id: UUID, key: Annotated[str, Header(alias="Idempotency-Key")]) -> dict[str, str]:
        return {"status": "success"}

    @app.get("/things")
    async def find(limit: int = 1) -> dict[str, str]:
        return {"status": "success"}

    @app.get("/token")
    async def token(request: Request) -> dict[str, str]:
        return {"token": bearer_token(request)}

    return app


class _Http:
    """A client of the application, which is built at its first use in each process."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_client(os.getpid()), name)


@cache
def _client(process: int) -> TestClient:
    return TestClient(application(), raise_server_exceptions=False)


http = _Http()


def code(answer: httpx2.Response) -> str:
    """Return the code of a refusal that has the one form."""
    said = answer.json()
    assert set(said) == {"status", "message", "code"}, said
    assert said["status"] == "error"
    return str(said["code"])


@pytest.mark.parametrize("path", BODIES)
def test_the_bodies_of_these_tests_are_good_ones(path: str) -> None:
    assert http.post(path, json=BODIES[path][1]).json() == {"status": "success"}


@pytest.mark.parametrize("path", BODIES)
@given(name=st.sampled_from(PLACES) | st.text(st.characters(codec="utf-8"), max_size=12))
@example(name="header")
@example(name="body")
@example(name="")
@example(name="0")
def test_a_field_that_there_is_not_is_unknown_whatever_it_is_called(path: str, name: str) -> None:
    shape, body = BODIES[path]
    if name in shape.model_fields:  # type: ignore[attr-defined]
        return
    answer = http.post(path, json=body | {name: 1})
    assert answer.status_code == (400 if path in {"/register", "/login"} else 422)
    assert code(answer) == "unknown_field"


@pytest.mark.parametrize(
    ("path", "field"),
    [(path, field) for path, (_, body) in BODIES.items() for field in body if path != "/changes"],
)
def test_a_missing_field_and_one_of_the_wrong_type_are_named(path: str, field: str) -> None:
    body = BODIES[path][1]
    missing = http.post(path, json={name: value for name, value in body.items() if name != field})
    assert (code(missing), missing.json()["message"]) == ("missing_field", f"{field}: this field is missing.")
    wrongs: list[object] = [[], {"header": 1}, True]
    for wrong in wrongs:
        answer = http.post(path, json=body | {field: wrong})
        assert code(answer) == "invalid_field"
        assert answer.json()["message"].startswith(f"{field}: ")


def repeated(body: dict[str, Any], name: str, *, nested: bool) -> str:
    """Return the JSON of a body in which one name stands twice, perhaps in an object within."""
    inner = f'"{name}": 1, "{name}": 1'
    rest = json.dumps(body)[1:-1]
    return f'{{{rest}, "more": {{{inner}}}}}' if nested else f"{{{rest}, {inner}}}"


@pytest.mark.parametrize("path", BODIES)
@given(name=st.sampled_from(["username", "amount", "x", "header"]), nested=st.booleans())
def test_a_name_that_stands_twice_is_no_json_for_us(path: str, name: str, nested: bool) -> None:
    body = repeated(BODIES[path][1], name, nested=nested)
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert code(answer) == "malformed_json"
    assert answer.json()["message"] == f"The body has the field {name} twice."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"username": NaN}',
        b'{"username": -Infinity}',
        b'{"username": "\xff"}',
        '{"username": "ada"}'.encode("utf-16"),
        b"[" * 10_000,
        b'{"a":' * 3000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: content[:20].hex() or "nothing",  # an id cannot hold every bracket
)
def test_what_is_no_json_object_in_utf_8_is_malformed(content: bytes) -> None:
    answer = http.post("/login", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, code(answer)) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("media_type", "is_read"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/merge-patch+json", True),
        ("text/json", False),
        ("text/plain", False),
        ("application/jsonp", False),
        ("application/xml", False),
        ("json", False),
        ("text/plain; a=application/json", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("content", [b"{}", b"no json"])
def test_only_json_is_read_and_other_media_types_are_called_so(
    media_type: str,
    is_read: bool,
    content: bytes,
) -> None:
    answer = http.post("/login", content=content, headers={"Content-Type": media_type})
    read = "missing_field" if content == b"{}" else "malformed_json"
    assert code(answer) == (read if is_read else "unsupported_media_type")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_named(name: str) -> None:
    answer = http.post("/login", content=f'{{"a": {name}}}', headers={"Content-Type": "application/json"})
    assert answer.json()["message"] == f"{name} is no JSON."


def test_a_body_without_a_media_type_is_not_read() -> None:
    assert code(http.post("/login", content=b"{}")) == "unsupported_media_type"


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key", "Content-Type", "Content-Length"])
def test_a_header_that_decides_may_stand_once(name: str) -> None:
    once, twice = [(name, "1")], [(name, "1"), (name.lower(), "1")]
    assert http.post("/nowhere", headers=once).status_code == 404
    answer = http.post("/nowhere", headers=twice)
    assert (answer.status_code, code(answer)) == (400, "invalid_header")
    assert answer.json()["message"] == f"{name}: send this header once."


def test_other_headers_may_stand_as_often_as_they_like() -> None:
    assert http.get("/things", headers=[("Accept", "a"), ("Accept", "b")]).status_code == 200


def test_headers_queries_and_paths_are_named_too() -> None:
    assert http.post(f"/things/{uuid4()}").json()["message"] == "Idempotency-Key: this header is missing."
    wrong = http.get("/things", params={"limit": "many"})
    assert (code(wrong), wrong.json()["message"].partition(":")[0]) == ("invalid_field", "limit")
    assert code(http.post("/things/no-uuid")) == "not_found"


@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES, BODY_LIMIT_BYTES + 1])
def test_a_body_has_16_kib_at_most(size: int) -> None:
    body = json.dumps(BODIES["/login"][1]).encode().ljust(size)
    answer = http.post("/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == (200 if size == BODY_LIMIT_BYTES else 400)


def test_a_head_is_answered_as_a_get_is() -> None:
    assert http.head("/things").status_code == http.get("/things").status_code == 200
    answer = http.put("/things")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic YTpi", "Token abc"])
def test_without_a_bearer_token_the_challenge_names_no_error(header: str | None) -> None:
    answer = http.get("/token", headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert http.get("/token", headers={"Authorization": "bearer abc"}).json() == {"token": "abc"}


def test_browsers_are_told_to_stay_with_tls_and_over_tls_alone() -> None:
    """RFC 6797 forbids the header over plain HTTP."""
    for scheme in ("http", ""):
        plain = http.get("/none", headers={"X-Forwarded-Proto": scheme})
        assert "strict-transport-security" not in plain.headers
    secure = http.get("/none", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert (secure.status_code, secure.headers["cache-control"]) == (404, "no-store")


LIMIT = 16 * 1024


async def sent_to_the_gate(*pieces: bytes, **headers: str) -> tuple[int, int]:
    """Send a body in these pieces to a route that reads it whole; return the status, and how many it has read."""
    left, statuses = list(pieces), []

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/campaigns", "headers": encoded, "query_string": b""}
    await application()(scope, receive, send)
    return statuses[0], len(pieces) - len(left)


JSON_TYPE = {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("sizes", "status"),
    [
        ([LIMIT], 400),
        ([LIMIT + 1], 413),
        ([LIMIT, 0], 400),
        ([LIMIT, 1], 413),
        ([9000, 7384], 400),
        ([9000, 9000], 413),
    ],
)
async def test_a_body_is_refused_when_all_its_pieces_are_over_the_limit(sizes: list[int], status: int) -> None:
    assert (await sent_to_the_gate(*(b"x" * size for size in sizes), **JSON_TYPE))[0] == status


async def test_a_body_that_says_it_is_over_the_limit_is_not_read() -> None:
    assert await sent_to_the_gate(b"x", **JSON_TYPE, content_length=str(LIMIT + 1)) == (413, 0)
    assert await sent_to_the_gate(b"x", **JSON_TYPE, content_length=str(LIMIT)) == (400, 1)


@pytest.mark.parametrize("header", ["Authorization", "Content-Type", "Idempotency-Key"])
def test_a_header_that_is_a_large_number_is_no_length(header: str) -> None:
    assert http.get("/things", headers={header: "99999"}).status_code == 200


async def test_what_is_no_request_passes_the_gate_as_it_is() -> None:
    passed: list[object] = []

    async def application(*what: object) -> None:
        passed.extend(what)

    async def receive() -> dict[str, str]:
        return {}

    async def send(_: object) -> None:
        """Nothing is sent."""

    scope = {"type": "lifespan"}
    await Gate(application)(scope, receive, send)
    assert [one is other for one, other in zip(passed, (scope, receive, send), strict=True)] == [True] * 3
