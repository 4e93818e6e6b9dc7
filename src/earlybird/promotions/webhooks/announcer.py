"""The announcer: notices to people. It looks at campaigns and at what the processes say of themselves.

Each notice has a key, which enters the database in the transaction that puts the notice into the queues. So it is
told once, however many announcers run.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from earlybird.infra.workers import Answers, Worker, interruptions
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.webhooks.model import Topic
from earlybird.promotions.webhooks.notices import alarm_notice, notices_of
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.status.alarms import Finding, find
from earlybird.status.asking import Asker
from earlybird.status.looks import Look

_LOOK_SECONDS = 2.0  # at campaigns
_ALARMS_EVERY = 5  # looks
_CAMPAIGNS = 20  # the newest
_LASTS_SECONDS = 60.0  # an alarm holds, or is gone, for so long before it is told
_BACK_OFF_SECONDS = 1.0


class Announcer(Worker):
    """Campaigns and alarms → queues."""

    answers: ClassVar[Answers] = interruptions("announcer_interrupted", _BACK_OFF_SECONDS)

    def __init__(
        self,
        campaigns: CampaignStore,
        queues: QueueStore,
        asker: Asker,
        targets: Mapping[str, str],
        lasts_seconds: float = _LASTS_SECONDS,
    ) -> None:
        super().__init__()
        self._campaigns = campaigns
        self._queues = queues
        self._asker = asker
        self._targets = targets
        self._lasts_seconds = lasts_seconds
        self._before: Look | None = None
        self._holds_since: dict[str, float] = {}
        self._gone_since: dict[str, float] = {}

    async def work(self) -> None:
        """Look, and tell, for ever."""
        looks = 0
        while True:
            await self._tell_campaigns()
            if self._targets and looks % _ALARMS_EVERY == 0:
                await self._tell_alarms()
            self.is_working = True
            looks += 1
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell_campaigns(self) -> None:
        now = await self._queues.now()
        records = await self._campaigns.find_all(_CAMPAIGNS)
        notices = dict(one for record in records for one in notices_of(record.campaign, record.remaining, now))
        if notices:
            await self._queues.announce(notices)

    async def _tell_alarms(self) -> None:
        after = await self._asker.look(self._targets)
        before, self._before = self._before, after
        if before is None:
            return
        found = {one.alarm.name: one for one in find(before, after) if one.alarm.severity != "info"}
        clock = asyncio.get_running_loop().time()
        for name in found:
            self._holds_since.setdefault(name, clock)
            self._gone_since.pop(name, None)
        for name in set(self._holds_since) - set(found):
            self._gone_since.setdefault(name, clock)
        for name, since in list(self._holds_since.items()):
            if name in found and clock - since >= self._lasts_seconds:
                await self._raise(found[name])
            elif name not in found and clock - self._gone_since[name] >= self._lasts_seconds:
                await self._end(name)

    async def _raise(self, finding: Finding) -> None:
        now, alarm = await self._queues.now(), finding.alarm
        event = alarm_notice(alarm.name, Topic.ALARM_RAISED, finding.summary, alarm.do_first, now)
        await self._queues.announce({f"alarm/{alarm.name}": event})

    async def _end(self, name: str) -> None:
        now = await self._queues.now()
        await self._queues.withdraw(f"alarm/{name}", alarm_notice(name, Topic.ALARM_ENDED, "", "", now))
        self._holds_since.pop(name, None)
        self._gone_since.pop(name, None)
