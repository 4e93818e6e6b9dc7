"""Envoy, the one address that clients know: how it is started, and when it answers.

It listens on loopback alone: on one port for plain HTTP, and on another for TLS if there is a certificate.
Not here: its routes and limits (`routing`).
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from earlybird.stack.binaries import find_envoy
from earlybird.stack.child import Child, Program
from earlybird.stack.readiness import http_answers
from earlybird.stack.routing import Tls, configuration

IN_FLIGHT_PER_SLOT = 16  # of requests that hash: about half a second of work
_NOWHERE = "/nothing-is-here"
REQUEST_SECONDS = 10  # from the first byte of a request to its last


def balancer(
    root: Path,
    port: int,
    identity: Sequence[Child],
    promotions: Sequence[Child],
    *,
    in_flight: int = IN_FLIGHT_PER_SLOT,
    request_seconds: float = REQUEST_SECONDS,
    trusted_proxies: int = 0,
    tls: Tls | None = None,
    pages: Sequence[Child] = (),
    inside: int | None = None,
) -> Program:
    """Write the configuration and return Envoy as a program. It answers when it says 404 where nothing is.

    All identities together get `in_flight` registrations and logins each at once, and no more.
    """
    file = root / "envoy.json"
    ports = [child.program.port for child in identity], [child.program.port for child in promotions]
    options = configuration(
        port,
        *ports,
        in_flight=in_flight,
        request_seconds=request_seconds,
        trusted_proxies=trusted_proxies,
        tls=tls,
        pages=[child.program.port for child in pages],
        inside=inside,
    )
    file.write_text(json.dumps(options))
    quiet = ["--log-level", "error", "--disable-hot-restart"]
    return Program(
        "envoy",
        [str(find_envoy()), "--config-path", str(file), "--concurrency", str(_threads()), *quiet],
        port,
        until_ready=partial(http_answers, f"http://127.0.0.1:{port}{_NOWHERE}", 404),
    )


def _threads() -> int:
    """Return how many threads serve: one for each two cores, because the hashes need the cores more."""
    return max(1, (os.cpu_count() or 1) // 2)
