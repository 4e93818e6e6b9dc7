"""What two looks at all processes come to: what is wrong, the pipeline, the rates, each process."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from earlybird.status.alarms import Looks, findings, increase, quantile, rate
from earlybird.status.table import ALARMS

_REQUEST = "earlybird_http_request_duration_seconds"
# Label, metric, unit: what is shown of the way from login to voucher.
_PIPELINE = (
    ("Ledger", "earlybird_ledger_head", ""),
    ("Stream", "earlybird_stream_head", ""),
    ("Judged", "earlybird_cursor", ""),
    ("Relay behind", "earlybird_relay_lag_entries", ""),
    ("Relay behind", "earlybird_relay_lag_seconds", " s"),
    ("Granter behind", "earlybird_granter_lag_entries", ""),
    ("Granter behind", "earlybird_granter_lag_seconds", " s"),
    ("Places behind", "earlybird_placer_lag_entries", ""),
    ("Vouchers left", "earlybird_campaign_vouchers_remaining", ""),
    ("Waiting in outboxes", "earlybird_outbox_messages", ""),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, what to do first, and the heading of its procedure in docs/runbook.md."""

    what: str
    first: str
    runbook: str
    severity: str


@dataclass(frozen=True, slots=True)
class Process:
    """One process."""

    name: str
    is_ready: bool
    state: str
    version: str
    memory: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. Rates are per second, times in seconds."""

    findings: Sequence[Finding]
    pipeline: Sequence[tuple[str, str]]
    rates: Sequence[tuple[str, str]]
    leaders: Sequence[tuple[str, str]]
    processes: Sequence[Process]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def report(looks: Looks) -> Report:
    """Judge two looks."""
    found = [Finding(one.what, one.first, one.name, one.severity) for one in findings(ALARMS, looks)]
    return Report(found, _pipeline(looks), _rates(looks), _leaders(looks), _processes(looks))


def _pipeline(looks: Looks) -> list[tuple[str, str]]:
    shown = []
    for label, metric, unit in _PIPELINE:
        values = [value for _, value in chain.from_iterable(one.values(metric, {}) for one in looks.after)]
        known = [value for value in values if not math.isnan(value)]
        if values:
            shown.append((label, f"{max(known):,.0f}{unit}" if known else "unknown"))
    return shown


def _rates(looks: Looks) -> list[tuple[str, str]]:
    logins = increase("earlybird_logins_total", {}, looks.before, looks.after)
    good = increase("earlybird_logins_total", {"outcome": "succeeded"}, looks.before, looks.after)
    p99 = quantile(0.99, _REQUEST, {"route": "/login"}, looks.before, looks.after)
    pairs = (
        ("Requests", rate(f"{_REQUEST}_count", {}, looks.before, looks.after)),
        ("Logins", rate("earlybird_logins_total", {}, looks.before, looks.after)),
        ("Vouchers granted", rate("earlybird_vouchers_granted_total", {}, looks.before, looks.after)),
        ("Refused", rate("earlybird_refusals_total", {}, looks.before, looks.after)),
    )
    shown = [(label, f"{value:,.1f}/s") for label, value in pairs]
    shown.append(("Logins that succeed", f"{good / logins:.0%}" if logins else "–"))
    shown.append(("Login, 99th percentile", f"under {p99 * 1000:,.0f} ms" if p99 is not None else "–"))
    return shown


def _leaders(looks: Looks) -> list[tuple[str, str]]:
    found = {
        (what, labels["member"])
        for what, metric in (
            ("MongoDB's primary", "earlybird_mongodb_primary"),
            ("NATS leads", "earlybird_stream_leader"),
        )
        for labels, value in chain.from_iterable(one.values(metric, {}) for one in looks.after)
        if value == 1
    }
    return sorted(found)


def _processes(looks: Looks) -> list[Process]:
    shown = []
    for one in looks.after:
        version = next((labels["version"] for labels, _ in one.values("earlybird_build_info", {})), "")
        memory = next((value for _, value in one.values("process_resident_memory_bytes", {})), None)
        size = "–" if memory is None else f"{memory / 1e6:,.0f} MB"
        shown.append(Process(one.name, one.is_ready, one.state, version, size))
    return shown
