"""What counts as wrong, and what to do first. Pure. deploy/prometheus/alerts.yml is made from this table.

An alarm is a rule over metrics. The rule is known in two forms: here it looks at readings, in Prometheus it is an
expression. Both are made from the same few kinds of rules.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, Protocol

from earlybird.status.readings import Labels, Reading

Readings = Sequence[Reading]


@dataclass(frozen=True, slots=True)
class Looks:
    """Two looks at all processes, some seconds apart."""

    before: Readings
    after: Readings


class Rule(Protocol):
    """When something is wrong: over two looks some seconds apart, or in Prometheus."""

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""


def _selector(metric: str, labels: Labels) -> str:
    parts = [
        f'{name}=~"{value[:-1]}.*"' if value.endswith("*") else f'{name}="{value}"'
        for name, value in labels.items()
    ]
    return f"{metric}{{{', '.join(parts)}}}" if parts else metric


@dataclass(frozen=True, slots=True)
class Above:
    """A gauge is above a bound in some process."""

    metric: str
    bound: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        found = chain.from_iterable(reading.values(self.metric, self.labels) for reading in looks.after)
        return any(value > self.bound for _, value in found if not math.isnan(value))

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        return f"max({_selector(self.metric, self.labels)}) > {self.bound:g}"


@dataclass(frozen=True, slots=True)
class NoneOf:
    """A gauge that is 0 or 1 is 1 in no process, for some value of a label."""

    metric: str
    by: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        highest: dict[str, float] = {}
        for labels, value in chain.from_iterable(one.values(self.metric, self.labels) for one in looks.after):
            key = labels.get(self.by, "")
            highest[key] = max(highest.get(key, 0), value)
        return any(value < 1 for value in highest.values())

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        return f"max by ({self.by}) ({_selector(self.metric, self.labels)}) < 1"


@dataclass(frozen=True, slots=True)
class Faster:
    """A counter grows faster than so many a second, over all processes."""

    metric: str
    per_second: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        return rate(self.metric, self.labels, looks.before, looks.after) > self.per_second

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        return f"sum(rate({_selector(self.metric, self.labels)}[5m])) > {self.per_second:g}"


@dataclass(frozen=True, slots=True)
class Share:
    """A counter is more than this share of another, while there are at least so many of the other a second."""

    metric: str
    labels: Mapping[str, str]
    of: str
    share: float
    least_per_second: float = 1

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        whole = rate(self.of, {}, looks.before, looks.after)
        return (
            whole >= self.least_per_second
            and rate(self.metric, self.labels, looks.before, looks.after) > self.share * whole
        )

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        whole = f"sum(rate({self.of}[5m]))"
        part = f"sum(rate({_selector(self.metric, self.labels)}[5m]))"
        return f"{part} > {self.share:g} * {whole} and {whole} >= {self.least_per_second:g}"


@dataclass(frozen=True, slots=True)
class Slower:
    """The 99th percentile of a histogram is above so many seconds."""

    metric: str
    labels: Mapping[str, str]
    seconds: float

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        found = quantile(0.99, self.metric, self.labels, looks.before, looks.after)
        return found is not None and found > self.seconds

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        buckets = f"sum by (le) (rate({_selector(f'{self.metric}_bucket', self.labels)}[5m]))"
        return f"histogram_quantile(0.99, {buckets}) > {self.seconds:g}"


@dataclass(frozen=True, slots=True)
class Down:
    """A process does not answer."""

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        return any(not reading.answered for reading in looks.after)

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        return 'up{job="earlybird"} == 0'


@dataclass(frozen=True, slots=True)
class Differs:
    """A label has more than one value over all processes."""

    metric: str
    label: str

    def holds(self, looks: Looks) -> bool:
        """Tell whether it is wrong now."""
        found = chain.from_iterable(reading.values(self.metric, {}) for reading in looks.after)
        return len({labels.get(self.label) for labels, _ in found}) > 1

    def promql(self) -> str:
        """Return the same as an expression of Prometheus."""
        return f"count(count by ({self.label}) ({self.metric})) > 1"


def increase(metric: str, labels: Labels, before: Readings, after: Readings) -> float:
    """Return how much a counter grew between two looks; a process that began again counts from 0."""
    old = {
        (reading.name, *sorted(own.items())): value
        for reading in before
        for own, value in reading.values(metric, labels)
    }
    grown = 0.0
    for reading in after:
        for own, value in reading.values(metric, labels):
            was = old.get((reading.name, *sorted(own.items())), 0.0)
            grown += value - was if value >= was else value
    return grown


def rate(metric: str, labels: Labels, before: Readings, after: Readings) -> float:
    """Return how fast a counter grew between two looks, per second."""
    seconds = max((b.at - a.at for a, b in zip(before, after, strict=False)), default=0.0)
    return increase(metric, labels, before, after) / seconds if seconds > 0 else 0.0


def quantile(share: float, metric: str, labels: Labels, before: Readings, after: Readings) -> float | None:
    """Return the upper bound of the bucket that holds this share of what came; None: nothing came."""
    bounds = sorted({own["le"] for one in after for own, _ in one.values(f"{metric}_bucket", labels)}, key=float)
    counts = [increase(f"{metric}_bucket", {**labels, "le": bound}, before, after) for bound in bounds]
    if not counts or counts[-1] <= 0:
        return None
    return next(float(bound) for bound, count in zip(bounds, counts, strict=True) if count >= share * counts[-1])


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that may be wrong. `name` is also the alert's, and the heading of its procedure in the runbook."""

    name: str
    what: str
    first: str
    rule: Rule
    severity: Literal["page", "ticket", "info"]
    minutes: int = 2  # for which it must hold before Prometheus tells somebody


def findings(alarms: Iterable[Alarm], looks: Looks) -> Iterator[Alarm]:
    """Yield the alarms whose rules hold, in their order: the first is what to do first."""
    return (alarm for alarm in alarms if alarm.rule.holds(looks))
