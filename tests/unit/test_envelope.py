"""One form for every answer that is no success, whoever refuses."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI
from pymongo.errors import WriteConcernError

from earlybird.errors import HTTP_STATUS, Refusal, Unavailable, http_status
from earlybird.infra.http import server as http_server
from earlybird.infra.http.app import create_web_app
from earlybird.infra.http.server import add_health
from earlybird.infra.mongo import outages_as_unavailable


def client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://service"
    )


async def test_what_breaks_on_our_side_tells_nothing_of_it() -> None:
    app = create_web_app("test", "1")

    @app.get("/broken")
    async def break_down() -> None:
        raise RuntimeError("secret detail")

    async with client(app) as http:
        answer = await http.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert set(answer.json()) == {"status", "message", "code"}
    assert "secret" not in answer.text


async def test_an_outage_is_503_with_a_time_to_try_again() -> None:
    app = create_web_app("test", "1")

    @app.get("/voucher")
    async def be_away() -> None:
        raise Unavailable("away")

    async with client(app) as http:
        answer = await http.get("/voucher")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"status": "error", "message": "away", "code": "unavailable"}


OUTSIDE = {"method_not_allowed", "request_timeout", "headers_too_large", "too_many_attempts"}


@pytest.mark.parametrize("code", sorted(HTTP_STATUS))
def test_on_the_contracts_routes_every_refusal_of_a_request_is_400(code: str) -> None:
    refusal = Refusal(code, "no")
    ours = refusal.status >= 500 or code in OUTSIDE
    for path in ("/register", "/login", "/voucher"):
        assert http_status(refusal, path) == (refusal.status if ours else 400)
    assert http_status(refusal, "/vouchers") == refusal.status


def test_a_refusal_without_a_status_is_a_bug_found_at_once() -> None:
    with pytest.raises(KeyError):
        Refusal("no_such_code", "no")


async def test_readiness_names_what_fails_and_ends_when_stopping() -> None:
    app = create_web_app("test", "1")
    is_away = True

    async def check() -> None:
        if is_away:
            raise OSError

    add_health(app, {"database": check})
    async with client(app) as http:
        assert (await http.get("/readyz")).json()["message"] == "not ready: database"
        assert (await http.get("/healthz")).status_code == 200
        is_away = False
        assert (await http.get("/readyz")).status_code == 200
        app.state.draining = True
        assert (await http.get("/readyz")).status_code == 503


async def test_a_readiness_check_that_hangs_is_left_alone_and_never_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "_CHECK_SECONDS", 0.01)
    app = create_web_app("test", "1")
    answers, checks, ended = asyncio.Event(), 0, 0

    async def check() -> None:
        nonlocal checks, ended
        checks += 1
        await answers.wait()
        ended += 1

    add_health(app, {"database": check})
    async with client(app) as http:
        turned_away = await asyncio.gather(*(http.get("/readyz") for _ in range(3)))
        assert {answer.status_code for answer in turned_away} == {503}
        assert (checks, ended) == (1, 0)
        answers.set()
        assert (await http.get("/readyz")).status_code == 200
        assert ended == checks


async def test_a_write_that_no_majority_confirmed_is_an_outage() -> None:
    with pytest.raises(Unavailable):
        async with outages_as_unavailable():
            raise WriteConcernError("operation was interrupted", 11602)
