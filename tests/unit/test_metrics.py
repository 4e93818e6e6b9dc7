"""The metrics: their table, their names, and that what people send never becomes a label."""

import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from earlybird import metrics
from earlybird.infra.http.app import create_web_app
from earlybird.infra.http.metrics import Look, Measured, add_metrics
from earlybird.metrics import RequestTimes

TABLE = Path(__file__).parents[2] / "docs" / "metrics.md"
ALL = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase | RequestTimes)]


def shown_name(metric: MetricWrapperBase | RequestTimes) -> str:
    return f"{metric._name}_total" if isinstance(metric, Counter) else str(metric._name)


def test_the_table_in_the_docs_is_true_in_both_directions() -> None:
    rows = re.findall(r"^\| `(earlybird_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", TABLE.read_text(), re.MULTILINE)
    assert rows == [
        (shown_name(one), one._type, ", ".join(f"`{name}`" for name in one._labelnames), one._documentation)
        for one in ALL
    ]


@pytest.mark.parametrize("metric", ALL, ids=shown_name)
def test_names_follow_the_conventions_of_prometheus(metric: MetricWrapperBase | RequestTimes) -> None:
    name = shown_name(metric)
    assert re.fullmatch(r"earlybird_[a-z]+(_[a-z]+)*", name)
    assert not re.search(r"_(ms|milliseconds|minutes|kib|percent|count|sum|bucket)(_|$)", name)
    assert isinstance(metric, Counter) == name.endswith("_total")
    assert not isinstance(metric, Histogram | RequestTimes) or name.endswith("_seconds")
    assert isinstance(metric, (Counter, Gauge, Histogram, RequestTimes))


def an_app() -> FastAPI:
    app = create_web_app("test", "1")

    @app.get("/things/{thing}")
    async def thing(thing: int) -> dict[str, int]:
        return {"thing": thing}

    add_metrics(app)
    return app


@pytest.fixture(scope="module")
def client() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(Measured(an_app()), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


async def counts(client: httpx2.AsyncClient) -> dict[tuple[str, str, str], float]:
    """How often each method, route and status was counted in this process, by whichever test."""
    text = (await client.get("/metrics")).text
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "earlybird_http_request_duration_seconds_count"
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), min_size=1, max_size=30),
    st.from_regex(r"[A-Z]{1,12}", fullmatch=True),
)
async def test_whatever_is_sent_the_number_of_series_is_bounded(
    client: httpx2.AsyncClient, path: str, method: str
) -> None:
    before = await counts(client)
    url = httpx2.URL("http://test/", raw_path=b"/things/" + path.encode())
    await client.request(method, url)
    await client.request(method, httpx2.URL("http://test/", raw_path=b"/" + path.encode()))
    after = await counts(client)
    counted = {labels for labels, count in after.items() if count != before.get(labels)}
    assert counted
    for sent_by, route, status in counted:
        assert route in {"/things/{thing}", "/metrics", "unmatched"}
        assert sent_by in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}
        assert status in {"200", "404", "405", "422"}


async def test_a_look_that_fails_shows_nothing_old() -> None:
    found, clock, app = [7.0], [0.0], create_web_app("test", "1")

    async def sample() -> dict[Gauge, float]:
        return {metrics.CURSOR: found.pop()}

    add_metrics(app, {"cursor": Look(sample, (metrics.CURSOR,))}, clock=lambda: clock[-1])
    failed = metrics.SAMPLES_FAILED.labels("cursor")
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        assert "earlybird_cursor 7.0" in (await client.get("/metrics")).text
        assert "earlybird_cursor 7.0" in (await client.get("/metrics")).text, "one look a second is enough"
        clock.append(2.0)
        assert "earlybird_cursor NaN" in (await client.get("/metrics")).text
    assert failed._value.get() == 1


async def test_a_request_is_counted_once_under_its_template_and_status(client: httpx2.AsyncClient) -> None:
    labels = "GET", "/things/{thing}", "200"
    before = (await counts(client)).get(labels, 0)
    for number in (1, 2):
        assert (await client.get(f"/things/{number}")).status_code == 200
    assert (await counts(client))[labels] == before + 2


async def test_what_a_role_does_not_look_up_it_does_not_show(client: httpx2.AsyncClient) -> None:
    shown = (await client.get("/metrics")).text
    looked_up = [one for one in ALL if shown_name(one) not in shown]
    assert {metrics.CURSOR, metrics.RELAY_LAG_SECONDS, metrics.REMAINING} <= set(looked_up)
    assert metrics.REQUEST_SECONDS not in looked_up


async def test_a_head_counts_for_the_route_that_answers_it(client: httpx2.AsyncClient) -> None:
    before = await counts(client)
    assert (await client.head("/things/1")).status_code == 200
    after = await counts(client)
    assert {labels for labels in after if after[labels] != before.get(labels)} >= {
        ("HEAD", "/things/{thing}", "200")
    }


async def test_both_formats_are_given(client: httpx2.AsyncClient) -> None:
    open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
    assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=600))
def test_request_times_are_those_of_the_library(noted: list[tuple[str, float]]) -> None:
    bounds, registry = (0.001, 0.5, 10), CollectorRegistry()
    theirs = Histogram("theirs", "…", ["label"], buckets=bounds, registry=registry)
    ours = RequestTimes("ours", "…", ("label",), bounds)
    REGISTRY.unregister(ours)
    for label, seconds in noted:
        ours.note((label,), seconds)
        theirs.labels(label).observe(seconds)
    found = {
        (one.name.removeprefix("ours"), *one.labels.items()): one.value
        for one in next(iter(ours.collect())).samples
    }
    for one in next(iter(theirs.collect())).samples:
        if not one.name.endswith("_created"):
            key = (one.name.removeprefix("theirs"), *one.labels.items())
            assert found.pop(key) == pytest.approx(one.value)
    assert found == {}
