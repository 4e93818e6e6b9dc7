"""How the system is: the same report that `earlybird status` shows in a terminal."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Response

from earlybird.infra.http.app import built
from earlybird.pages.console.staff import Staff
from earlybird.status.asking import Asker
from earlybird.status.report import make_report

router = APIRouter(prefix="/console", include_in_schema=False)
_BETWEEN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Targets:
    """The processes that are looked at: their addresses, by name, and who may sign their certificates."""

    known: Mapping[str, str]
    ca_file: Path | None = None


@router.get("/health")
async def show_health(desk: Staff) -> Response:
    """Look at every process twice, and show what that comes to."""
    targets: Targets = await built(Targets)(desk.visit.request)
    if not targets.known:
        return desk.page("health.html", report=None)
    async with aclosing(Asker(targets.ca_file)) as asker:
        before = await asker.look(targets.known)
        await asyncio.sleep(_BETWEEN_SECONDS)
        after = await asker.look(targets.known)
    return desk.page("health.html", report=make_report(before, after, time.time()))
