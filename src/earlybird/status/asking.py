"""Asking every process what it tells: `/readyz` and `/metrics`, all at once, each within a bounded time."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2

from earlybird.status.looks import Look, Process, read_samples

_ANSWER_SECONDS = 3  # /readyz and /metrics wait 1 s or 2 for servers that do not answer
_AWAY = "does not answer"


class Asker:
    """Asks processes by HTTP, without any proxy."""

    def __init__(self, ca_file: Path | None = None) -> None:
        """Trust this authority, if the processes speak TLS with certificates of a private one."""
        context = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._http = httpx2.AsyncClient(verify=context, timeout=_ANSWER_SECONDS, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def look(self, targets: Mapping[str, str]) -> Look:
        """Ask all, each at its URL. An empty URL is a server without metrics that is known not to run."""
        at = time.monotonic()
        found = await asyncio.gather(*(self._ask(name, url) for name, url in targets.items()))
        return Look(at, {process.name: process for process in found})

    async def _ask(self, name: str, url: str) -> Process:
        if not url:
            return Process(name, problem=_AWAY)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                ready = await self._http.get(f"{url}/readyz")
                told = await self._http.get(f"{url}/metrics")
            if told.status_code != httpx2.codes.OK:
                return Process(name, problem=f"/metrics answers {told.status_code}")
            return Process(name, "", ready.is_success, _note(ready), read_samples(told.text))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
            return Process(name, problem=_AWAY)
        except ValueError:
            return Process(name, problem="what answers there is no earlybird")


def _note(ready: httpx2.Response) -> str:
    body = ready.json()
    if not isinstance(body, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  # as where the text is no JSON
    degraded = body.get("degraded", [])
    return f"without {', '.join(map(str, degraded))}" if degraded else str(body.get("message", ""))
