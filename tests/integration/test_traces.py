"""Traces of the real roles, received by a real OTLP endpoint."""

import asyncio
import logging

import httpx2
import pytest
from collector import Collector, Received, collecting
from nats.aio.client import Client as NatsClient
from people import open_campaign, registration, until, until_judged
from services import Ports, environment, serving_here, until_ready

from earlybird.events import STREAM
from earlybird.infra.mongo import Client
from earlybird.settings import Settings
from free_ports import free_port

ROLES = "identity", "promotions", "relay", "granter"
PARENT = f"00-{'a1' * 16}-{'b2' * 8}"


async def log_in(http: httpx2.AsyncClient, ports: Ports, i: int, **headers: str) -> str:
    """Register somebody and log them in for the first time; give the token."""
    identity, person = f"http://127.0.0.1:{ports.identity}", registration(i)
    unsampled = {"traceparent": f"{PARENT}-00"}
    assert (await http.post(f"{identity}/register", json=person, headers=unsampled)).status_code == 200
    login = {"username": person["username"], "password": person["password"]}
    answer = await http.post(f"{identity}/login", json=login, headers=headers)
    assert answer.status_code == 200
    return str(answer.json()["token"])


def only(spans: list[Received], name: str) -> Received:
    [found] = [span for span in spans if span.name == name]
    return found


def chain(collector: Collector, name: str) -> list[str]:
    """Give the names from this span up to the root of its trace, whatever comes between."""
    span, names, by_id = only(collector.spans, name), [], {one.span_id: one for one in collector.spans}
    while True:
        names.append(f"{span.service.removeprefix('earlybird-')}: {span.name}")
        if span.parent_id not in by_id:
            return names
        span = by_id[span.parent_id]


async def test_a_login_its_voucher_and_all_between_are_one_trace(mongo: Client, settings: Settings) -> None:
    ports = Ports()
    await open_campaign(mongo, 100)
    with collecting() as collector:
        changed = environment(settings, ports, EARLYBIRD_OTLP_URL=collector.url, EARLYBIRD_TRACE_SAMPLING="1")
        async with serving_here(changed, *ROLES), httpx2.AsyncClient() as http:
            await until_ready(http, *(getattr(ports, role) for role in ROLES))
            token = await log_in(http, ports, 1)
            await until(mongo, "vouchers", {})
            await until_judged(mongo, 1)
            headers = {"Authorization": f"Bearer {token}", "traceparent": f"{PARENT}-01"}
            voucher = f"http://127.0.0.1:{ports.promotions}/voucher"
            assert (await http.get(voucher, headers=headers)).status_code == 200
            order = {"order_id": "o-1", "amount": 1000, "currency": "VND"}
            spending = {"Authorization": f"Bearer {token}", "Idempotency-Key": "key-1"}
            assert (await http.post(f"{voucher}/redemptions", json=order, headers=spending)).status_code == 200
    login = ["commit first login", "POST /login"]
    way = ["relay: append to ledger", *(f"identity: {name}" for name in login)]
    assert chain(collector, f"send {STREAM}") == [f"relay: send {STREAM}", *way]
    for last in ("commit awards", "cache voucher"):
        assert chain(collector, last) == [f"granter: {last}", f"granter: process {STREAM}", *way]
    trace = only(collector.spans, "POST /login").trace_id
    assert only(collector.spans, "cache voucher").trace_id == trace
    for name in ("find user", "count guess", "verify password"):
        assert chain(collector, name) == [f"identity: {name}", "identity: POST /login"]
    assert chain(collector, "sign token")[1:] == ["identity: open session", "identity: POST /login"]
    read = only(collector.spans, "GET /voucher")
    assert (read.trace_id, read.parent_id) == ("a1" * 16, "b2" * 8), "the caller's trace goes on"
    asked = ["identity: GET /account", "promotions: ask identity", "promotions: POST /voucher/redemptions"]
    assert chain(collector, "GET /account") == asked, "promotions and identity are in one trace"
    said = str(collector.spans)
    for personal in ("person-1", "+84912", "example.com", "correct horse", token):
        assert personal not in said
    assert "POST /register" not in said, "the caller said that it is not sampled"


@pytest.mark.parametrize("sampling", [None, "0"])
async def test_what_is_not_sampled_leaves_no_trace_anywhere(
    mongo: Client, broker: NatsClient, settings: Settings, sampling: str | None
) -> None:
    ports = Ports()
    with collecting() as collector:
        on = {"EARLYBIRD_OTLP_URL": collector.url, "EARLYBIRD_TRACE_SAMPLING": sampling} if sampling else {}
        changed = environment(settings, ports, **on)
        async with serving_here(changed, "identity", "relay"), httpx2.AsyncClient() as http:
            await until_ready(http, ports.identity, ports.relay)
            parent = {} if sampling else {"traceparent": f"{PARENT}-01"}  # off: nobody is asked
            await log_in(http, ports, 1, **parent)
            async with asyncio.timeout(30):
                while not (await broker.jetstream().streams_info() and await last(broker)):
                    await asyncio.sleep(0.02)
    user = await mongo["identity"]["users"].find_one({})
    entry = await mongo["identity"]["ledger"].find_one({})
    message = await broker.jetstream().get_msg(STREAM, 1)
    assert user
    assert user["is_first_login"] == 0
    assert entry
    assert "traceparent" not in f"{user}{entry}{message.data!r}"
    assert not collector.spans


async def last(broker: NatsClient) -> int:
    return (await broker.jetstream().stream_info(STREAM)).state.last_seq


async def test_a_collector_that_is_away_is_logged_once_and_holds_up_nobody(
    mongo: Client, settings: Settings, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = Ports()
    nowhere = f"http://127.0.0.1:{free_port()}/v1/traces"
    changed = environment(settings, ports, EARLYBIRD_OTLP_URL=nowhere, EARLYBIRD_TRACE_SAMPLING="1")
    with caplog.at_level(logging.WARNING):
        async with serving_here(changed, "identity"), httpx2.AsyncClient() as http:
            await until_ready(http, ports.identity)
            await log_in(http, ports, 1)
    out = capsys.readouterr().out + caplog.text
    assert out.count("traces_not_exported") == 1
    assert "Traceback" not in out
