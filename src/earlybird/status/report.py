"""The report: what two looks say together. `None` stands for what is not known, never for 0."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from earlybird.status.alarms import Finding, find
from earlybird.status.looks import Look, Process, Series, quantile_between

_REQUESTS = "earlybird_http_request_duration_seconds"
_OF_PEOPLE = ("route", "!~", "/readyz|/healthz|/metrics")


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """One process."""

    name: str
    problem: str
    is_ready: bool
    note: str
    version: str | None
    uptime_seconds: float | None
    memory_bytes: float | None

    @property
    def state(self) -> str:
        """Say in few words how it is."""
        if self.problem or not self.is_ready:
            return self.problem or self.note or "not ready"
        return f"ready, {self.note}" if self.note else "ready"

    @property
    def memory(self) -> str:
        """Return its memory for people."""
        return "-" if self.memory_bytes is None else f"{self.memory_bytes / 2**20:.0f} MiB"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Ledger → stream → cursor: the number that each has reached, and what waits between them."""

    ledger_head: float | None
    stream_head: float | None
    cursor: float | None
    relay_lag_entries: float | None
    relay_lag_seconds: float | None
    granter_lag_entries: float | None
    granter_lag_seconds: float | None
    placer_lag_entries: float | None
    vouchers_remaining: float | None

    def figures(self) -> Sequence[tuple[str, str]]:
        """Return all of it for people, one after another."""

        def number(value: float | None) -> str:
            return "unknown" if value is None else f"{value:,.0f}"

        return [
            ("Ledger", number(self.ledger_head)),
            ("Wait for the stream", number(self.relay_lag_entries)),
            ("Stream", number(self.stream_head)),
            ("Wait to be judged", number(self.granter_lag_entries)),
            ("Judged", number(self.cursor)),
            ("Without a place yet", number(self.placer_lag_entries)),
            (
                "Vouchers left",
                "no campaign" if self.vouchers_remaining is None else number(self.vouchers_remaining),
            ),
        ]


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """The requests of all processes of one name, in the time between the looks."""

    name: str
    requests_per_second: float
    errors_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class Resources:
    """What the processes lean on."""

    hash_slots: float
    hash_capacity: float
    hashes_admitted: float
    cache_reads_per_second: float
    cache_hit_share: float | None
    outboxes: Mapping[str, tuple[float, float]]  # messages, seconds that the oldest has waited


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    findings: Sequence[Finding]
    processes: Sequence[ProcessLine]
    pipeline: Pipeline
    services: Sequence[ServiceLine]
    logins: Mapping[str, tuple[float, float]]  # by outcome: per second, and in all
    resources: Resources
    leaders: Sequence[tuple[str, str]]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; of an alarm what it says, and not how it is found."""
        findings = [finding.as_json() for finding in self.findings]
        return asdict(self) | {"findings": findings, "is_fine": self.is_fine}

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong; what is only good to know is not wrong."""
        return all(finding.alarm.severity == "info" for finding in self.findings)


def make_report(before: Look, after: Look, now: float) -> Report:
    """Tell what two looks say; `now` is the time of the second, in seconds since 1970."""
    names = dict.fromkeys(name.partition("-")[0] for name, one in after.processes.items() if one.samples)
    services = (_service(name, before, after) for name in names)
    return Report(
        findings=find(before, after),
        processes=[_process(one, now) for one in after.processes.values()],
        pipeline=_pipeline(after),
        services=[one for one in services if one.requests_per_second > 0],
        logins=_logins(before, after),
        resources=_resources(before, after),
        leaders=_leaders(after),
    )


def _leaders(look: Look) -> Sequence[tuple[str, str]]:
    named = ("primary", "earlybird_mongodb_primary"), ("NATS leader", "earlybird_stream_leader")
    return sorted({(what, labels["member"]) for what, name in named for labels, _ in Series(name).values(look)})


def _process(one: Process, now: float) -> ProcessLine:
    alone = Look(0, {one.name: one})
    started = Series("process_start_time_seconds").largest(alone)
    versions = [labels["version"] for labels, _ in Series("earlybird_build_info").values(alone)]
    return ProcessLine(
        one.name,
        one.problem,
        one.is_ready,
        one.note,
        versions[0] if versions else None,
        None if started is None else max(0.0, now - started),
        Series("process_resident_memory_bytes").largest(alone),
    )


def _pipeline(look: Look) -> Pipeline:
    def largest(sample: str, name: str) -> float | None:
        return Series(f"earlybird_{name}").largest(look.where_sampled(sample))

    return Pipeline(
        ledger_head=largest("relay_lag", "ledger_head"),
        stream_head=largest("relay_lag", "stream_head"),
        cursor=largest("granter_lag", "cursor"),
        relay_lag_entries=largest("relay_lag", "relay_lag_entries"),
        relay_lag_seconds=largest("relay_lag", "relay_lag_seconds"),
        granter_lag_entries=largest("granter_lag", "granter_lag_entries"),
        granter_lag_seconds=largest("granter_lag", "granter_lag_seconds"),
        placer_lag_entries=largest("placer_lag", "placer_lag_entries"),
        vouchers_remaining=largest("remaining", "campaign_vouchers_remaining"),
    )


def _service(name: str, before: Look, after: Look) -> ServiceLine:
    before, after = (_only(name, look) for look in (before, after))
    histogram = Series(_REQUESTS, (_OF_PEOPLE, ("status", "!=", "503")))  # a refusal takes no time
    errors = Series(f"{_REQUESTS}_count", (_OF_PEOPLE, ("status", "=~", "5..")))  # overload too
    return ServiceLine(
        name,
        Series(f"{_REQUESTS}_count", (_OF_PEOPLE,)).rate(before, after),
        errors.rate(before, after),
        quantile_between(0.5, histogram, before, after),
        quantile_between(0.99, histogram, before, after),
    )


def _only(name: str, look: Look) -> Look:
    chosen = {one.name: one for one in look.processes.values() if one.name.partition("-")[0] == name}
    return Look(look.at, chosen)


def _logins(before: Look, after: Look) -> Mapping[str, tuple[float, float]]:
    series = Series("earlybird_logins_total")
    rates = _sums((labels["outcome"], rate) for labels, rate in series.rates(before, after))
    totals = _sums((labels["outcome"], value) for labels, value in series.values(after))
    return {outcome: (rates.get(outcome, 0.0), total) for outcome, total in sorted(totals.items())}


def _resources(before: Look, after: Look) -> Resources:
    reads = _sums(
        (labels["result"], rate) for labels, rate in Series("earlybird_cache_reads_total").rates(before, after)
    )
    slots, capacity, admitted = (
        math.fsum(value for _, value in Series(f"earlybird_{name}").values(after))
        for name in ("hash_slots", "hash_capacity", "hashes_admitted")
    )
    all_reads = sum(reads.values())
    return Resources(
        slots, capacity, admitted, all_reads, reads["hit"] / all_reads if all_reads else None, _outboxes(after)
    )


def _outboxes(look: Look) -> Mapping[str, tuple[float, float]]:
    ages = {labels["outbox"]: value for labels, value in Series("earlybird_outbox_oldest_seconds").values(look)}
    depths = Series("earlybird_outbox_messages").values(look)
    return {labels["outbox"]: (value, ages.get(labels["outbox"], 0.0)) for labels, value in depths}


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in pairs:
        found[name] = found.get(name, 0.0) + value
    return found
