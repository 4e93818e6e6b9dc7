"""`/metrics`: what is counted in this process, and what is looked up when somebody asks."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earlybird import metrics
from earlybird.infra.http.shared_check import SharedCheck

log = structlog.get_logger()
_SAMPLE_SECONDS = 1  # a look at a server that takes longer has failed; and one a second is enough for everybody
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Reading = Mapping[Gauge, float]
Sample = Callable[[], Coroutine[None, None, Reading]]


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a server, which sets these gauges; `shown` are the metrics that they are parts of, if they are."""

    sample: Sample
    gauges: Sequence[Gauge]
    shown: Sequence[Gauge] = ()


def request_labels(method: str, route: str, status: int) -> tuple[str, str, str]:
    """Return the labels of a request. `route` is a template, never a path that was sent; status 0: unanswered."""
    return method if method in _METHODS else "other", route, str(status or 499)


class Measured:
    """Notes every request, in front of everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 0, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", None) or scope.get("answered_path", "unmatched")
            labels = request_labels(scope["method"], route, status)
            metrics.REQUEST_SECONDS.note(labels, time.perf_counter() - began)


class _Sampled:
    """One look at a server, at most once a second, for all who ask."""

    def __init__(self, name: str, look: Look, clock: Callable[[], float]) -> None:
        self.name, self._gauges, self._clock, self._looked_at = name, look.gauges, clock, -math.inf
        self._shared = SharedCheck(self._set(look.sample))

    def _set(self, sample: Sample) -> Callable[[], Coroutine[None, None, None]]:
        async def look() -> None:
            found = await sample()
            for gauge in self._gauges:
                gauge.set(found.get(gauge, math.nan))
            self._looked_at = self._clock()

        return look

    async def refresh(self) -> None:
        """Look again. Where that fails, nothing old is shown as if it were of now."""
        if self._clock() < self._looked_at + _SAMPLE_SECONDS:
            return
        error = await self._shared.error_within(_SAMPLE_SECONDS)
        if error is not None:
            log.info("sample_failed", sample=self.name, error=type(error).__name__)
            metrics.SAMPLES_FAILED.labels(self.name).inc()
            for gauge in self._gauges:
                gauge.set(math.nan)


def outbox_look(name: str, depth: Callable[[], Coroutine[None, None, tuple[int, datetime | None]]]) -> Look:
    """Return the look at an outbox, whose `depth` says how many wait and since when the oldest does."""
    count, seconds = metrics.OUTBOX_MESSAGES.labels(name), metrics.OUTBOX_SECONDS.labels(name)

    async def sample() -> Reading:
        waiting, since = await depth()
        age = 0.0 if since is None else max(0.0, (datetime.now(UTC) - since).total_seconds())
        return {count: waiting, seconds: age}

    return Look(sample, (count, seconds), (metrics.OUTBOX_MESSAGES, metrics.OUTBOX_SECONDS))


def add_metrics(
    app: FastAPI,
    looks: Mapping[str, Look] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Add `/metrics`, in the format that is asked for: what this process counts, and what this role looks up."""
    metrics.BUILD_INFO.labels(version("earlybird")).set(1)
    registry = CollectorRegistry()
    registry.register(REGISTRY)
    sampled = []
    for name, look in (looks or {}).items():
        metrics.SAMPLES_FAILED.labels(name)
        sampled.append(_Sampled(name, look, clock))
        for metric in look.shown or look.gauges:
            registry.register(metric)

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        await asyncio.gather(*(one.refresh() for one in sampled))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})
