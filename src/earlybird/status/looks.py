"""What processes told at one moment, and how fast counters grew between two moments. Not here: asking them."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of `/metrics`."""

    name: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it answered; `problem` says why it did not, in few words, or is empty."""

    name: str
    problem: str = ""
    is_ready: bool = False
    note: str = ""  # what is not ready, or what it does without
    samples: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """All processes at one moment; `at` counts seconds from anywhere."""

    at: float
    processes: Mapping[str, Process]

    def where_sampled(self, sample: str) -> "Look":
        """Return the look at those processes that look this up. Others have the same gauges, at 0."""
        owner = Series("earlybird_samples_failed_total", (("sample", "=", sample),))
        return Look(self.at, {name: one for name, one in self.processes.items() if any(owner.of(one))})


def read_samples(text: str) -> Mapping[str, tuple[Sample, ...]]:
    """Read the text format of Prometheus, by name. Raises ValueError if it is something else."""
    lines = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return by_name(Sample(line.name, line.labels, line.value) for line in lines)


def by_name(samples: Iterable[Sample]) -> Mapping[str, tuple[Sample, ...]]:
    """Arrange samples by their names."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    return {name: tuple(those) for name, those in found.items()}


@dataclass(frozen=True, slots=True)
class Series:
    """The series of one name whose labels fit; a matcher is (label, operator of PromQL, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        """Return it as PromQL writes it."""
        inside = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return f"{self.name}{{{inside}}}" if inside else self.name

    def fits(self, labels: Labels) -> bool:
        """Tell whether all matchers fit; a label that is not there is an empty one."""
        return all(
            bool(re.fullmatch(value, labels.get(label, ""))) == (operator in {"=", "=~"})
            for label, operator, value in self.matchers
        )

    def of(self, process: Process) -> Iterator[Sample]:
        """Yield what one process tells; NaN says that it could not be looked up, and is left out."""
        for sample in process.samples.get(self.name, ()):
            if self.fits(sample.labels) and not math.isnan(sample.value):
                yield sample

    def values(self, look: Look) -> Iterator[tuple[Labels, float]]:
        """Yield the values of all processes; the process is the label `instance`."""
        for process in look.processes.values():
            for sample in self.of(process):
                yield {**sample.labels, "instance": process.name}, sample.value

    def rates(self, before: Look, after: Look) -> Iterator[tuple[Labels, float]]:
        """Yield the growth of counters per second, of processes that answered both times.

        A counter that is lower than before began again at 0, as its process did.
        """
        seconds = after.at - before.at
        for process in after.processes.values():
            earlier = before.processes.get(process.name)
            if seconds <= 0 or earlier is None or not earlier.samples:
                continue
            was = {frozenset(sample.labels.items()): sample.value for sample in self.of(earlier)}
            for sample in self.of(process):
                old = was.get(frozenset(sample.labels.items()), 0.0)
                grown = sample.value - old if sample.value >= old else sample.value
                yield {**sample.labels, "instance": process.name}, grown / seconds

    def rate(self, before: Look, after: Look) -> float:
        """Return the growth per second of all together."""
        return sum(value for _, value in self.rates(before, after))

    def largest(self, look: Look) -> float | None:
        """Return the largest value that a process tells; None if none does."""
        return max((value for _, value in self.values(look)), default=None)


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """Return the quantile of a histogram of cumulative counts, as Prometheus' `histogram_quantile` does."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    lower, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= share * total:
            if math.isinf(bound):
                return lower
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((share * total - below) / inside if inside else 1.0)
        lower, below = bound, buckets[bound]
    return lower


def quantile_between(share: float, histogram: Series, before: Look, after: Look) -> float | None:
    """Return the quantile of what a histogram observed between two looks; None if that is nothing."""
    buckets: dict[float, float] = {}
    for labels, rate in Series(f"{histogram.name}_bucket", histogram.matchers).rates(before, after):
        bound = float(labels["le"])
        buckets[bound] = buckets.get(bound, 0.0) + rate
    return quantile(share, buckets)
