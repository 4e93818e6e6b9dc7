"""The caretaker: does what campaigns need while nobody is present.

It notes that a campaign has started or ended by the clock. (Winners do not wait for this: they follow from the
time of their first login.) After N was raised, or a withdrawn voucher is replaced, it reads the stream again and
grants to those who are next in line.
Any number of caretakers may run.
"""

import asyncio
from typing import ClassVar

from nats.js import JetStreamContext

from earlybird.events import MalformedEvent
from earlybird.infra.crash import crash_point
from earlybird.infra.workers import Answer, Answers, Worker, interruptions
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.granting.first_logins import first_logins_from
from earlybird.promotions.granting.granter import show
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache

_ROUND_SECONDS = 0.25
_BACK_OFF_SECONDS = 1


class Caretaker(Worker):
    """Keeps the schedule, and catches up after a raise."""

    answers: ClassVar[Answers] = {
        CursorMoved: Answer("catch_up_overtaken", "debug", _BACK_OFF_SECONDS, stays_ready=True),
        Gap: Answer("ledger_gap", "error", _BACK_OFF_SECONDS),
        MalformedEvent: Answer("malformed_event", "error", _BACK_OFF_SECONDS),
        **interruptions("caretaker_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(
        self, jetstream: JetStreamContext, campaigns: CampaignStore, grants: GrantStore, cache: VoucherCache
    ) -> None:
        super().__init__()
        self._jetstream = jetstream
        self._campaigns = campaigns
        self._grants = grants
        self._cache = cache

    async def work(self) -> None:
        """Look after campaigns, round after round."""
        while True:
            await self._campaigns.keep_schedule()
            for record in await self._campaigns.find_behind():
                await self._catch_up(record)
            self.is_working = True
            await asyncio.sleep(_ROUND_SECONDS)

    async def _catch_up(self, record: CampaignRecord) -> None:
        """Process the first logins after the last winner once more, in order, until the campaign is in step."""
        n = record.reread_n
        if n is None:
            return
        async with first_logins_from(self._jetstream, n + 1) as stream:
            while n is not None:
                events = next_in_order(n, await stream.next_batch())
                crash_point("caretaker.fetched")
                result = await self._grants.commit_catch_up(record.campaign.id, n, events)
                crash_point("caretaker.after_commit")
                await show(result.vouchers, self._cache)
                n = result.reached_n
