"""How the system is: the same report that `earlybird status` shows in a terminal."""

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Response

from earlybird.infra.http.app import built
from earlybird.pages.console.staff import Staff
from earlybird.status.alarms import Looks
from earlybird.status.readings import Target, read_all
from earlybird.status.report import report

router = APIRouter(prefix="/console", include_in_schema=False)
_BETWEEN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Targets:
    """The processes that are looked at."""

    known: list[Target]


@router.get("/health")
async def show_health(desk: Staff) -> Response:
    """Look at every process twice, and show what that comes to."""
    targets: Targets = await built(Targets)(desk.visit.request)
    if not targets.known:
        return desk.page("health.html", report=None)
    before = await read_all(targets.known)
    await asyncio.sleep(_BETWEEN_SECONDS)
    return desk.page("health.html", report=report(Looks(before, await read_all(targets.known))))
