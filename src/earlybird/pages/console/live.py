"""What watchers of a campaign are told each second: one look at the API for all who watch the same campaign.

The look is made in the name of one of them. When that session has ended, it is made in another's name, and the one
whose session it was is told to log in.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

from earlybird.client import ClientError, api
from earlybird.pages.visits import LoginNeeded, Visit

EVERY_SECONDS = 1.0
_MOST_WATCHERS = 500  # at once, in one process
ENDED, LOST = "event: ended\ndata: {}\n\n", "event: lost\ndata: {}\n\n"


@dataclass(eq=False)
class _Watcher:
    visit: Visit
    news: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(maxsize=2))

    def tell(self, message: str) -> None:
        """Leave a message; a slow reader misses what is old."""
        if self.news.full():
            self.news.get_nowait()
        self.news.put_nowait(message)


class LiveCampaigns:
    """The campaigns that somebody watches in this process."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._every = every_seconds
        self._watchers: dict[UUID, list[_Watcher]] = {}
        self._looking: dict[UUID, asyncio.Task[None]] = {}

    @property
    def is_full(self) -> bool:
        """Whether nobody more is let in."""
        return sum(map(len, self._watchers.values())) >= _MOST_WATCHERS

    async def watch(self, campaign_id: UUID, visit: Visit) -> AsyncIterator[str]:
        """Yield server-sent events until the caller stops, its session ends, or the process is to stop."""
        watcher, watchers = _Watcher(visit), self._watchers.setdefault(campaign_id, [])
        watchers.append(watcher)
        if campaign_id not in self._looking:
            self._looking[campaign_id] = asyncio.create_task(self._look_on(campaign_id))
        try:
            while not visit.request.app.state.draining:
                message = await watcher.news.get()
                yield message
                if message == ENDED:
                    return
        finally:
            watchers.remove(watcher)  # also where the look has ended first, as when the process stops

    async def _look_on(self, campaign_id: UUID) -> None:
        watchers = self._watchers[campaign_id]
        try:
            while watchers:
                asked = watchers[-1]
                try:
                    message = await _figures(campaign_id, asked.visit)
                except LoginNeeded:
                    asked.tell(ENDED)
                    if asked in watchers:  # next time somebody else is asked, whose session may go on
                        watchers.remove(asked)
                        watchers.insert(0, asked)
                except ClientError:
                    _tell(watchers, LOST)
                else:
                    _tell(watchers, message)
                await asyncio.sleep(self._every)
        finally:
            del self._looking[campaign_id], self._watchers[campaign_id]


def _tell(watchers: list[_Watcher], message: str) -> None:
    for watcher in watchers:
        watcher.tell(message)


async def _figures(campaign_id: UUID, visit: Visit) -> str:
    """Ask what has become of the campaign, and how many people have come."""
    figures, grants, logins = await asyncio.gather(
        visit.send(api.figures(campaign_id)),
        visit.send(api.grant_curve(campaign_id, points=2)),
        visit.send(api.first_logins_curve(points=2)),
    )
    first = grants.first_number
    shown = {
        "at": time.time(),
        "came": 0 if first is None else max(0, logins.head - first + 1),
        **figures.model_dump(
            include={"granted", "remaining", "withdrawn", "held", "redeemed", "refunded", "in_line"}
        ),
    }
    return f"data: {json.dumps(shown)}\n\n"
