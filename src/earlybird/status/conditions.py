"""Conditions over metrics. Each is one thing told twice: as PromQL, and over two looks of our own.

A test runs both over the same figures. The one difference: Prometheus waits (`for`) and looks back five minutes,
we look at the seconds between two looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from earlybird.status.looks import Labels, Look, Series, quantile_between

WINDOW = "[5m]"


@dataclass(frozen=True, slots=True)
class Hit:
    """One time that a condition holds: of what, and the figure that makes it hold."""

    labels: Labels
    value: float


class Condition(Protocol):
    """Something that is so, or is not."""

    def promql(self) -> str:
        """Return it as an expression that has a result while it holds."""

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:
        """Return each time that it holds."""


@dataclass(frozen=True, slots=True)
class Away:
    """A process does not answer."""

    def promql(self) -> str:
        """See Condition. Prometheus itself makes `up`."""
        return 'up{job="earlybird"} == 0'

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:  # noqa: ARG002  # as conditions are asked
        """See Condition."""
        return [Hit({"instance": one.name}, 0) for one in after.processes.values() if one.problem]


@dataclass(frozen=True, slots=True)
class Level:
    """The largest, or smallest, of some gauges is above a bound, or at it.

    `sample` names the look at a server that sets the gauge. Other processes have the gauge too, at 0, and do not
    count.
    """

    series: Series
    operator: Literal[">", "=="]
    bound: float
    of: Literal["max", "min"] = "max"
    by: tuple[str, ...] = ()
    sample: str = ""

    def promql(self) -> str:
        """See Condition."""
        owners = f' and on (instance) earlybird_samples_failed_total{{sample="{self.sample}"}}'
        inside = f"{self.series}{owners if self.sample else ''}"
        return f"{self.of}{_by(self.by)} ({inside}) {self.operator} {self.bound:g}"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:  # noqa: ARG002  # as conditions are asked
        """See Condition."""
        look = after.where_sampled(self.sample) if self.sample else after
        groups: dict[tuple[str, ...], list[float]] = {}
        for labels, value in self.series.values(look):
            groups.setdefault(tuple(labels.get(name, "") for name in self.by), []).append(value)
        chosen = {group: max(values) if self.of == "max" else min(values) for group, values in groups.items()}
        return [
            Hit(dict(zip(self.by, group, strict=True)), value)
            for group, value in chosen.items()
            if (value > self.bound if self.operator == ">" else value == self.bound)
        ]


@dataclass(frozen=True, slots=True)
class Rate:
    """Some counters together grow by more than this per second."""

    series: Series
    above: float
    by: tuple[str, ...] = ()

    def promql(self) -> str:
        """See Condition."""
        return f"sum{_by(self.by)} (rate({self.series}{WINDOW})) > {self.above:g}"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:
        """See Condition."""
        groups: dict[tuple[str, ...], float] = {}
        for labels, rate in self.series.rates(before, after):
            group = tuple(labels.get(name, "") for name in self.by)
            groups[group] = groups.get(group, 0.0) + rate
        return [
            Hit(dict(zip(self.by, group, strict=True)), rate)
            for group, rate in groups.items()
            if rate > self.above
        ]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of what is counted in `whole`, more than this share is counted in `part`; too few of either say nothing."""

    part: Series
    whole: Series
    above: float
    least_per_second: float = 0.05

    def promql(self) -> str:
        """See Condition."""
        part, whole = (f"sum(rate({one}{WINDOW}))" for one in (self.part, self.whole))
        return f"{part} / {whole} > {self.above:g} and {part} > {self.least_per_second:g}"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:
        """See Condition."""
        part, whole = (one.rate(before, after) for one in (self.part, self.whole))
        share = part / whole if whole else float("inf")
        return [Hit({}, share)] if part > self.least_per_second and share > self.above else []


@dataclass(frozen=True, slots=True)
class Slow:
    """Of what a histogram observed, one in a hundred took longer than this many seconds."""

    histogram: Series
    seconds: float

    def promql(self) -> str:
        """See Condition."""
        buckets = Series(f"{self.histogram.name}_bucket", self.histogram.matchers)
        return f"histogram_quantile(0.99, sum by (le) (rate({buckets}{WINDOW}))) > {self.seconds:g}"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:
        """See Condition."""
        found = quantile_between(0.99, self.histogram, before, after)
        return [Hit({}, found)] if found is not None and found > self.seconds else []


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A worker is interrupted by one of these events, again and again; or it was, and has not worked since."""

    events: tuple[str, ...]

    @property
    def _series(self) -> Series:
        return Series("earlybird_worker_interruptions_total", (("event", "=~", "|".join(self.events)),))

    def promql(self) -> str:
        """See Condition."""
        return f"sum by (worker, event) (increase({self._series}{WINDOW})) > 0"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:
        """See Condition."""
        working = Series("earlybird_worker_working")
        idle = {(one["instance"], one["worker"]) for one, value in working.values(after) if value == 0}
        grown = [labels for labels, rate in self._series.rates(before, after) if rate > 0]
        stuck = [one for one, _ in self._series.values(after) if (one["instance"], one["worker"]) in idle]
        pairs = dict.fromkeys((labels["worker"], labels["event"]) for labels in [*grown, *stuck])
        return [Hit({"worker": worker, "event": event}, 1) for worker, event in pairs]


@dataclass(frozen=True, slots=True)
class Differ:
    """Processes run different versions."""

    def promql(self) -> str:
        """See Condition."""
        return "count(count by (version) (earlybird_build_info)) > 1"

    def hits(self, before: Look, after: Look) -> Sequence[Hit]:  # noqa: ARG002  # as conditions are asked
        """See Condition."""
        versions = {labels["version"] for labels, _ in Series("earlybird_build_info").values(after)}
        return [Hit({}, len(versions))] if len(versions) > 1 else []


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
