"""The server that runs an application on a port, its health checks, and its polite end."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from earlybird.errors import Failure, Unavailable
from earlybird.infra.http.metrics import Measured
from earlybird.infra.http.protocol import DEADLINES, Deadlines, Protocol
from earlybird.infra.http.shared_check import Check, SharedCheck
from earlybird.infra.http.traced import trace_requests
from earlybird.infra.tracing import Tracing
from earlybird.metrics import CHECK_PASSING
from earlybird.settings import Settings

log = structlog.get_logger()

_LISTEN_BACKLOG = 2048
# Longer than any balancer keeps an idle upstream connection, so that it, not we, closes first.
_KEEP_ALIVE_SECONDS = 65
_CHECK_SECONDS = 2
_DRAIN_TICK_SECONDS = 0.05


def add_health(app: FastAPI, checks: Mapping[str, Check], watched: Mapping[str, Check] | None = None) -> None:
    """Add `/healthz` (the process runs) and `/readyz` (it can serve: every check passes, it is not stopping).

    What is `watched` does not decide: the service serves without it. `/readyz` names it while it fails.
    """
    app.state.draining = False
    probes = [_Probe(name, check) for name, check in checks.items()]
    watching = [_Probe(name, check) for name, check in (watched or {}).items()]

    @app.get("/healthz", include_in_schema=False)
    async def is_alive() -> dict[str, str]:
        return {"status": "success"}

    @app.get("/readyz", include_in_schema=False)
    async def is_ready() -> dict[str, Any]:
        if app.state.draining:
            raise Unavailable("stopping")
        failed, degraded = await asyncio.gather(_failed(probes), _failed(watching))
        if failed:
            raise Unavailable(f"not ready: {', '.join(failed)}")
        return {"status": "success", **({"degraded": degraded} if degraded else {})}


async def _failed(probes: Sequence["_Probe"]) -> list[str]:
    results = await asyncio.gather(*(probe.passes() for probe in probes))
    return [probe.name for probe, passed in zip(probes, results, strict=True) if not passed]


class _Probe:
    """A check by its name."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self._shared = SharedCheck(check)

    async def passes(self) -> bool:
        """Say whether the check passes within two seconds."""
        error = await self._shared.error_within(_CHECK_SECONDS)
        CHECK_PASSING.labels(self.name).set(error is None)
        if error is not None:
            log.info("not_ready", check=self.name, error=type(error).__name__)
        return error is None


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers: the process that runs the roles owns the signals."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


class HttpServer:
    """Serves one application on one port until cancelled; then it drains, and requests in flight finish."""

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        port: int,
        *,
        in_front: ASGIApp | None = None,
        busy: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        tracing: Tracing | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """Take the address now. Raises Failure when it is taken or not ours.

        `in_front` gets every request instead of `app`, and hands on to it. What `busy` makes stands in front of
        all; it notes the times of the requests that it answers, and hands on the others.
        """
        self._app = app
        host, self._drain_seconds = settings.host, settings.drain_seconds
        try:
            self._socket = socket.create_server((host, port), backlog=_LISTEN_BACKLOG)
            # Without it, the second half of an answer waits for a delayed ACK: 44 ms on a kept connection.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Failure(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from error
        self._server = _Uvicorn(
            _config(trace_requests(busy(Measured(in_front or app)), tracing or Tracing()), settings, deadlines)
        )

    async def run(self) -> None:
        """Serve until cancelled, then stop as `_stop` says, however often we are cancelled."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            stopping = asyncio.create_task(self._stop(serving))
            while not stopping.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({stopping})
            raise

    async def _stop(self, serving: asyncio.Task[None]) -> None:
        """Say that we are not ready, serve on until the balancer has left or had time to notice, then end.

        A request on a kept connection that closes at that moment is lost, and a balancer may not repeat every
        request; so the connections close when it sends no more. Requests in flight get `shutdown_seconds`.
        """
        self._app.state.draining = True
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._drain_seconds
        while self._server.server_state.connections and clock() < deadline:  # noqa: ASYNC110  # uvicorn has no event
            await asyncio.sleep(_DRAIN_TICK_SECONDS)
        self._server.should_exit = True
        await asyncio.wait({serving})


def _config(app: ASGIApp, settings: Settings, deadlines: Deadlines) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Protocol, deadlines=deadlines),  # type: ignore[arg-type]  # it is only ever called
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks for the client's address
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        ssl_certfile=settings.http_certificate_file,
    )
