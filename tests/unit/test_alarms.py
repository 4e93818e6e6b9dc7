"""`earlybird status`: each alarm rings when it should and not before, in Prometheus just as in ours."""

import json
import math
import re
import shutil
import subprocess
from contextlib import aclosing
from io import StringIO
from pathlib import Path

import pytest
import yaml
from alarm_cases import CASES, Figures
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from earlybird.cli.deployment import stack_targets
from earlybird.errors import Failure
from earlybird.status.alarms import ALARMS, Alarm, find
from earlybird.status.asking import Asker
from earlybird.status.looks import Look, Process, Sample, by_name, quantile, read_samples
from earlybird.status.report import make_report
from earlybird.status.rules import anchor, prometheus_rules
from earlybird.status.screen import draw
from earlybird.status.targets import parse_targets

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: apt install prometheus")


def look(figures: Figures, minutes: float) -> Look:
    """Return what our own look would see of these series after some minutes."""
    found: dict[str, list[Sample]] = {}
    away = {}
    for series, start, growth in figures:
        [family] = text_string_to_metric_families(f"{series} 1\n")
        [sample] = family.samples
        instance, labels = sample.labels.get("instance", "a"), dict(sample.labels)
        labels.pop("instance", None)
        if sample.name == "up":
            away[instance] = labels["job"] == "earlybird" and start == 0
        else:
            found.setdefault(instance, []).append(Sample(sample.name, labels, start + minutes * growth))
    processes = {name: Process(name, is_ready=True, samples=by_name(those)) for name, those in found.items()}
    processes |= {name: Process(name, problem="does not answer" * gone) for name, gone in away.items()}
    return Look(60 * minutes, processes)


def rings(figures: Figures) -> set[str]:
    return {finding.alarm.name for finding in find(look(figures, 0), look(figures, 1))}


def test_each_alarm_has_its_cases() -> None:
    assert list(CASES) == [alarm.name for alarm in ALARMS]


@pytest.mark.parametrize("name", CASES)
def test_an_alarm_rings_when_it_should_and_not_before(name: str) -> None:
    loud, quiet = CASES[name]
    assert name in rings(loud)
    assert name not in rings(quiet)


@needs_promtool
def test_prometheus_rings_for_the_same_figures(tmp_path: Path) -> None:
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": series, "values": f"{start:g}+{growth:g}x60"} for series, start, growth in figures
            ],
            "promql_expr_test": [
                {
                    "expr": f'group(ALERTS{{alertname="Earlybird{name}",alertstate="firing"}})',
                    "eval_time": "45m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if is_loud else [],
                }
            ],
        }
        for name, (loud, quiet) in CASES.items()
        for figures, is_loud in ((loud, True), (quiet, False))
    ]
    file = tmp_path / "tests.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}))
    promtool("test", "rules", str(file))


@needs_promtool
def test_prometheus_takes_the_example_of_its_configuration() -> None:
    assert f"{len(ALARMS)} rules found" in promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def promtool(*words: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_file_of_rules_is_made_from_the_table() -> None:
    """Otherwise: python -m earlybird.status.rules > deploy/prometheus/alerts.yml."""
    assert RULES.read_text() == prometheus_rules()
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_an_alarm_names_a_section_of_the_runbook_which_names_it(alarm: Alarm) -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    sections = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert alarm.section in sections
    events = re.findall(r'event=~\\"([\w|]+)\\"', json.dumps(alarm.condition.promql()))
    known = [alarm.name, *(event for some in events for event in some.split("|"))]
    assert any(f"`{word}`" in sections[alarm.section] for word in known)


def test_anchors_are_those_of_github() -> None:
    assert anchor("A process is down") == "a-process-is-down"


def test_a_counter_that_began_again_counts_from_zero() -> None:
    series = 'earlybird_throttled_total{limit="guesses"}'
    assert "GuessesRefused" not in {
        one.alarm.name for one in find(look([(series, 9000, 0)], 0), look([(series, 30, 0)], 1))
    }


def test_what_could_not_be_looked_up_is_unknown_and_not_zero() -> None:
    text = 'earlybird_samples_failed_total{sample="relay_lag"} 1\nearlybird_ledger_head NaN\n'
    asked = Process("relay", is_ready=True, samples=read_samples(text))
    other = Process("granter", is_ready=True, samples=read_samples("earlybird_ledger_head 0\n"))
    now = Look(1, {"relay": asked, "granter": other})
    assert make_report(now, now, 0).pipeline.ledger_head is None


def test_what_is_only_good_to_know_is_not_wrong() -> None:
    loud, _ = CASES["SoldOut"]
    report = make_report(look(loud, 0), look(loud, 1), 0)
    assert [one.alarm.name for one in report.findings] == ["SoldOut"]
    assert report.is_fine


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.floats(0.01, 1))
def test_a_quantile_lies_within_the_bucket_that_holds_it(counts: list[int], share: float) -> None:
    cumulated = {float(2**at): float(sum(counts[: at + 1])) for at in range(len(counts))}
    cumulated[math.inf] = float(sum(counts))
    found = quantile(share, cumulated)
    if not sum(counts):
        assert found is None
        return
    assert found is not None
    holder = min(bound for bound, count in cumulated.items() if count >= share * sum(counts))
    below = max((bound for bound in cumulated if bound < holder), default=0.0)
    assert below <= found <= holder


@pytest.mark.parametrize("text", ["identity", "identity=10.0.0.1:8001", "=http://a", "a=http://x,a=http://y"])
def test_targets_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(Failure):
        parse_targets(text)


def test_targets_are_named_addresses() -> None:
    assert parse_targets("a-1=http://x:1/, b=https://y ,") == {"a-1": "http://x:1", "b": "https://y"}


def test_of_a_local_stack_roles_are_asked_and_servers_that_do_not_run_are_named(tmp_path: Path) -> None:
    processes = {
        "valkey": {"pid": None, "port": 1},
        "nats-1": {"pid": 7, "port": 2},
        "identity-1": {"pid": None, "port": 3},
    }
    (tmp_path / "stack.json").write_text(json.dumps({"processes": processes}))
    assert stack_targets(tmp_path) == {"valkey": "", "identity-1": "http://127.0.0.1:3"}


def test_the_screen_says_first_what_is_wrong_and_what_to_do_once_for_each_alarm() -> None:
    loud = CASES["RevocationsStale"][0] + CASES["WorkerIdle"][0]
    loud += [
        (series.replace("relay", "granter"), start, growth) for series, start, growth in CASES["WorkerIdle"][0]
    ]
    shown = Console(width=200, record=True, file=StringIO())
    shown.print(draw(make_report(look(loud, 0), look(loud, 1), 0)))
    lines = shown.export_text().splitlines()
    assert lines[:2] == ["critical: No relay works", "critical: No granter works"]
    assert [line for line in lines if "docs/runbook.md" in line] == [
        "    docs/runbook.md#a-worker-does-not-work",
        "    docs/runbook.md#revocations-are-stale",
    ]


async def test_a_process_that_is_not_there_is_said_to_be_away() -> None:
    async with aclosing(Asker()) as asker:
        answers = {"closed": "http://127.0.0.1:1", "no-server": ""}
        found = (await asker.look(answers)).processes
    assert {one.problem for one in found.values()} == {"does not answer"}
