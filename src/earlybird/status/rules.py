"""The table of alarms as rules for Prometheus. Run as a module, it prints deploy/prometheus/alerts.yml."""

import json
import re
from collections.abc import Iterator

from earlybird.status.alarms import ALARMS, Alarm

_VALUES = {"seconds": "humanizeDuration", "share": "humanizePercentage", "number": "humanize"}


def prometheus_rules() -> str:
    """Return the file of rules. A string in JSON is one in YAML too."""
    head = "# Made from src/earlybird/status/alarms.py, see there. Do not edit.\n"
    rules = [line for alarm in ALARMS for line in _rule(alarm)]
    return "\n".join([head + "groups:", "- name: earlybird", "  rules:", *rules, ""])


def _rule(alarm: Alarm) -> Iterator[str]:
    yield f"  - alert: Earlybird{alarm.name}"
    yield f"    expr: {json.dumps(alarm.condition.promql())}"
    yield f"    for: {alarm.lasts}"
    yield f"    labels: {{severity: {alarm.severity}}}"
    yield "    annotations:"
    yield f"      summary: {_text(_template(alarm))}"
    yield f"      description: {_text(f'{alarm.means} First: {alarm.do_first}')}"
    yield f"      runbook: docs/runbook.md#{anchor(alarm.section)}"


def _text(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)


def anchor(section: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", section.lower()).replace(" ", "-")


def _template(alarm: Alarm) -> str:
    text = alarm.summary.replace("{value}", f"{{{{ $value | {_VALUES[alarm.unit]} }}}}")
    return re.sub(r"(?<!\{)\{(\w+)\}(?!\})", r"{{ $labels.\1 }}", text)


if __name__ == "__main__":
    print(prometheus_rules(), end="")  # noqa: T201  # it is run to be read
