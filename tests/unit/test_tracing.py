"""Traces, as far as they need no server: the context in an event, and what nothing may depend on."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from earlybird.events import FirstLogin, is_traceparent
from earlybird.identity.ledger.model import FirstLoginCommitted, number_first_logins
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.infra.tracing import Tracing, current_traceparent, trace_headers, traced

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
TRACE = f"00-{'a1' * 16}-{'b2' * 8}-01"
PLAIN = FirstLogin(37, UUID(int=37), NOW)
SAMPLED = replace(PLAIN, traceparent=TRACE)


def test_the_context_travels_in_the_event_as_cloudevents_has_it() -> None:
    told = json.loads(SAMPLED.to_json())
    assert told == json.loads(PLAIN.to_json()) | {"traceparent": TRACE}
    assert FirstLogin.from_json(SAMPLED.to_json()).traceparent == TRACE
    assert FirstLogin.from_json(PLAIN.to_json()).traceparent is None


def test_an_event_is_the_same_in_whatever_trace() -> None:
    assert SAMPLED == PLAIN
    assert hash(SAMPLED) == hash(PLAIN)
    assert not SAMPLED < PLAIN
    assert list(seal_each(b"s" * 32, FIRST_SEAL, [SAMPLED])) == list(seal_each(b"s" * 32, FIRST_SEAL, [PLAIN]))
    for entry in (PLAIN, SAMPLED):
        for told in (PLAIN, SAMPLED, replace(PLAIN, traceparent="anything")):
            assert entry.is_told_by(told.to_json())


@pytest.mark.parametrize("change", [{"n": 38}, {"user_id": UUID(int=38)}, {"first_login_at": datetime.now(UTC)}])
def test_another_event_is_another_in_the_same_trace(change: dict[str, object]) -> None:
    assert not SAMPLED.is_told_by(replace(SAMPLED, **change).to_json())  # type: ignore[arg-type]


@pytest.mark.parametrize("payload", [None, b"", b"forged", b"[]", b"{}", b"\xff", b'{"traceparent":"x"}'])
def test_what_is_no_event_tells_none(payload: bytes | None) -> None:
    assert not SAMPLED.is_told_by(payload)


@pytest.mark.parametrize(
    "sent", [None, "", 1, [TRACE], {"a": 1}, "x" * 55, TRACE + "-x", TRACE.upper(), TRACE + "\n", "01" + TRACE[2:]]
)
def test_a_malformed_context_in_the_stream_is_passed_over(sent: object) -> None:
    assert not is_traceparent(sent)
    payload = json.dumps(json.loads(PLAIN.to_json()) | {"traceparent": sent}).encode()
    read = FirstLogin.from_json(payload)
    assert (read, read.traceparent) == (PLAIN, None)


def test_a_first_login_keeps_its_context_when_it_is_numbered() -> None:
    committed = [FirstLoginCommitted(UUID(int=n), NOW, trace) for n, trace in enumerate((TRACE, None))]
    assert [entry.traceparent for entry in number_first_logins(0, committed, ())] == [TRACE, None]


async def test_without_a_tracer_nothing_is_traced() -> None:
    @traced("something")
    async def work(value: int) -> int:
        return value + 1

    assert await work(1) == 2
    assert (current_traceparent(), trace_headers()) == (None, {})
    items = [SAMPLED, PLAIN]
    with Tracing().each("something", items) as same:
        assert same is items


def test_a_role_without_tracing_imports_no_exporter() -> None:
    # (redis-py imports the metrics of the SDK by itself, where they are installed.)
    listed = (
        "import sys, earlybird.identity.app, earlybird.promotions.app, earlybird.pages.app; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert not [
        name for name in run.stdout.split() if name.startswith(("opentelemetry.sdk.trace", "opentelemetry.exp"))
    ]
