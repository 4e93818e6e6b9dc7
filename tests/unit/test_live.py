"""Watching a campaign: one look a round for all who watch, in the name of somebody whose session goes on."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from earlybird.client import Call, Unavailable, api
from earlybird.client.report_shapes import Curve, Figures, GrantCurve
from earlybird.pages.console.live import ENDED, LOST, LiveCampaigns
from earlybird.pages.visits import LoginNeeded, Visit

CAMPAIGN = UUID(int=1)
COUNTS = dict.fromkeys(("granted", "remaining", "withdrawn", "held", "redeemed", "refunded", "in_line"), 0)
ANSWERS: dict[str, Any] = {
    api.figures(CAMPAIGN).path: Figures.model_validate({**COUNTS, "granted": 7, "given": [], "most_still": None}),
    api.grant_curve(CAMPAIGN).path: GrantCurve(first_number=11, granted=7, points=[]),
    api.first_logins_curve().path: Curve(head=30, points=[]),
}


class Watching:
    """Somebody who watches: answers what the API would, as long as it goes well."""

    def __init__(self, live: LiveCampaigns) -> None:
        self.looks, self.fails = 0, None
        self.request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(draining=False)))
        self.events = live.watch(CAMPAIGN, cast("Visit", self))

    fails: Exception | None

    async def send(self, call: Call[Any]) -> Any:
        if call.path == api.figures(CAMPAIGN).path:
            self.looks += 1
        if self.fails is not None:
            raise self.fails
        return ANSWERS[call.path]


async def until(watching: Watching, wanted: str) -> None:
    async with asyncio.timeout(20):
        async for message in watching.events:
            if message == wanted:
                return


async def test_one_look_a_round_serves_all_who_watch() -> None:
    live = LiveCampaigns(every_seconds=0.01)
    watchers = [Watching(live) for _ in range(5)]
    for _ in range(3):
        for watching in watchers:
            shown = json.loads((await anext(watching.events)).removeprefix("data: "))
            assert (shown["granted"], shown["came"]) == (7, 20)
    assert sum(watching.looks for watching in watchers) < 15, "fifteen messages, and fewer looks"
    for watching in watchers:
        await watching.events.aclose()  # type: ignore[attr-defined]


async def test_whose_session_ends_is_told_so_and_the_others_go_on() -> None:
    live = LiveCampaigns(every_seconds=0.01)
    first, second = Watching(live), Watching(live)
    await anext(first.events)
    await anext(second.events)
    second.fails = LoginNeeded(had_session=True)
    await until(second, ENDED)
    seen = first.looks
    await anext(first.events)
    await anext(first.events)
    assert first.looks > seen, "the other is asked now"
    first.fails = Unavailable("away")
    await until(first, LOST)
    first.fails = None
    assert (await anext(first.events)).startswith(("data:", "event: lost"))
    first.request.app.state.draining = True
    assert [message async for message in first.events] in ([], [LOST])
    assert not live.is_full


async def test_who_is_still_there_when_the_look_ends_leaves_without_a_fault() -> None:
    live = LiveCampaigns(every_seconds=0.01)
    watching = Watching(live)
    await anext(watching.events)
    [look] = live._looking.values()
    look.cancel()
    await asyncio.wait({look})
    await watching.events.aclose()  # type: ignore[attr-defined]
    assert not live._watchers
