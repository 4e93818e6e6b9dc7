"""Asking processes how they are: one look at each, all at once, each within two seconds."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx2
from prometheus_client.parser import text_string_to_metric_families

_SECONDS = 2
Labels = Mapping[str, str]


class BadTargets(ValueError):
    """A list of targets cannot be read; the message says how it is written."""


@dataclass(frozen=True, slots=True)
class Target:
    """A process, and the address of its HTTP port."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process said. `at` is in seconds of a monotonic clock; no samples: it did not answer."""

    name: str
    at: float
    state: str = "does not answer"
    is_ready: bool = False
    samples: Sequence[tuple[str, Labels, float]] = field(default=())

    @property
    def answered(self) -> bool:
        """Whether the process gave its metrics."""
        return bool(self.samples)

    def values(self, metric: str, labels: Labels) -> Iterator[tuple[Labels, float]]:
        """Yield the values of a metric whose labels have these values; a trailing `*` stands for whatever."""
        for name, own, value in self.samples:
            if name == metric and all(_fits(own.get(key, ""), wanted) for key, wanted in labels.items()):
                yield own, value


def _fits(value: str, wanted: str) -> bool:
    return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted


def parse_targets(text: str) -> list[Target]:
    """Read `name=url,name=url`. Raises BadTargets."""
    targets = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, url = part.partition("=")
        if not separator or not name or not url.startswith(("http://", "https://")):
            raise BadTargets(f"{part}: write name=url, such as relay-1=http://10.0.0.7:8003")
        targets.append(Target(name, url.rstrip("/")))
    return targets


async def read_all(targets: Sequence[Target]) -> list[Reading]:
    """Look at each process once, all at once. Raises nothing: who does not answer is a reading too."""
    async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False) as http:
        return list(await asyncio.gather(*(_read(http, target) for target in targets)))


async def _read(http: httpx2.AsyncClient, target: Target) -> Reading:
    try:
        ready, told = await asyncio.gather(http.get(f"{target.url}/readyz"), http.get(f"{target.url}/metrics"))
        told.raise_for_status()
        answer = ready.json()
        samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(told.text)
            for sample in family.samples
        ]
    except (httpx2.HTTPError, ValueError):
        return Reading(target.name, time.monotonic())
    degraded = answer.get("degraded")
    state = str(answer.get("message", "")) or (f"degraded: {', '.join(degraded)}" if degraded else "ready")
    return Reading(target.name, time.monotonic(), state, ready.status_code == 200, samples)
