"""The dashboard of Grafana and the alarms ask for metrics and labels that there are, and show every metric."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from earlybird import metrics
from earlybird.metrics import RequestTimes
from earlybird.status.alarms import ALARMS

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "earlybird.json"
PROMTOOL = shutil.which("promtool")
ALL = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase | RequestTimes)]
OF_SCRAPES = {"job", "instance"}
OTHERS = {"up": set[str](), "ALERTS": {"alertname", "alertstate"}}  # of Prometheus itself


def names(metric: MetricWrapperBase | RequestTimes) -> list[str]:
    endings = ["_bucket", "_count", "_sum"] if isinstance(metric, Histogram | RequestTimes) else [""]
    return [f"{metric._name}{'_total' if isinstance(metric, Counter) else end}" for end in endings]


LABELS = {name: set(one._labelnames) for one in ALL for name in names(one)} | OTHERS


def strings(part: object, key: str) -> Iterator[str]:
    for name, value in (
        part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    ):
        if name == key and isinstance(value, str):
            yield value
        yield from strings(value, key)


QUERIES = list(strings(json.loads(DASHBOARD.read_text()), "expr"))
EXPRESSIONS = QUERIES + [alarm.condition.promql() for alarm in ALARMS]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    asked = re.findall(r"\b(earlybird_\w+|process_\w+|up|ALERTS)\b(?:\{([^}]*)\})?", expression)
    assert asked
    known = {"le", *OF_SCRAPES}
    for name, matchers in asked:
        if not name.startswith("process_"):  # of the library
            assert set(re.findall(r'(\w+)[=!~]+"', matchers)) <= LABELS[name] | OF_SCRAPES, name
            known |= LABELS[name]
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= known


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert any(label in group for group in kept) or (not kept and "sum" not in target["expr"]), panel[
                    "title"
                ]


def test_every_metric_is_on_the_dashboard() -> None:
    text = "\n".join(QUERIES)
    assert [one._name for one in ALL if not any(re.search(rf"\b{name}\b", text) for name in names(one))] == []


def test_panels_do_not_lie_over_one_another() -> None:
    places = [panel["gridPos"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    cells = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: apt install prometheus")
def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "queries.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert PROMTOOL is not None
    words = [PROMTOOL, "check", "rules", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
