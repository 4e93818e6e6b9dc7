"""The server that runs an application on a port, its health checks, and its polite end."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from earlybird.errors import Failure, Unavailable

log = structlog.get_logger()

_LISTEN_BACKLOG = 2048
# Longer than any balancer keeps an idle upstream connection, so that it, not we, closes first.
_KEEP_ALIVE_SECONDS = 65
_CHECK_SECONDS = 2

Check = Callable[[], Awaitable[None]]


def add_health(app: FastAPI, checks: Mapping[str, Check]) -> None:
    """Add `/healthz` (the process runs) and `/readyz` (it can serve: every check passes, it is not stopping)."""
    app.state.draining = False

    @app.get("/healthz", include_in_schema=False)
    async def is_alive() -> dict[str, str]:
        return {"status": "success"}

    @app.get("/readyz", include_in_schema=False)
    async def is_ready() -> dict[str, str]:
        if app.state.draining:
            raise Unavailable("stopping")
        results = await asyncio.gather(*(_passes(name, check) for name, check in checks.items()))
        failed = [name for name, passed in zip(checks, results, strict=True) if not passed]
        if failed:
            raise Unavailable(f"not ready: {', '.join(failed)}")
        return {"status": "success"}


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001  # whatever the reason, the answer is "not ready"
        log.info("not_ready", check=name, error=type(error).__name__)
        return False
    return True


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers: the process that runs the roles owns the signals."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()


class _WholeAnswers:
    """A transport that sends what is written in one turn of the loop in one piece.

    uvicorn writes head and body apart; a process killed between the two would leave an answer cut in half,
    which no balancer can mend.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # everything else is the transport's own
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            self._transport.write(data)


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_WholeAnswers(transport, self.loop))  # type: ignore[arg-type]


class HttpServer:
    """Serves one application on one port until cancelled; then readiness fails and requests in flight finish."""

    def __init__(
        self, app: FastAPI, host: str, port: int, *, shutdown_seconds: int, in_front: ASGIApp | None = None
    ) -> None:
        """Take the address now; `in_front`, if any, hands on to `app`. Raises Failure when it is taken or not ours."""
        self._app = app
        try:
            self._socket = socket.create_server((host, port), backlog=_LISTEN_BACKLOG)
            # Else the second half of an answer waits for the client's delayed ACK: 44 ms on a kept connection.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Failure(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from error
        self._server = _Uvicorn(_config(in_front or app, shutdown_seconds))

    async def run(self) -> None:
        """Serve until cancelled, then drain for at most `shutdown_seconds`."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._app.state.draining = True
            self._server.should_exit = True
            while not serving.done():  # it ends by itself within shutdown_seconds, however often we are cancelled
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({serving})
            raise


def _config(app: ASGIApp, shutdown_seconds: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks for the client's address
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
    )
