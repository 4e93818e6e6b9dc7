"""The caretaker: what campaigns need while nobody is present.

It notes that they have started or ended by the clock (the winners do not wait for it: they follow from the time of
their first login), and after N was raised it rereads the stream for those next in line. Any number may run.
"""

import asyncio

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from pymongo.errors import PyMongoError

from earlybird.errors import Unavailable
from earlybird.events import MalformedEvent
from earlybird.infra.crash import crash_point
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.campaigns.store import CampaignRecord, CampaignStore
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.granting.first_logins import first_logins_from
from earlybird.promotions.granting.granter import show
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache

log = structlog.get_logger()

_ROUND_SECONDS = 0.25
_BACK_OFF_SECONDS = 1


class Caretaker:
    """Keeps the schedule, and catches up after a raise."""

    def __init__(
        self, jetstream: JetStreamContext, campaigns: CampaignStore, vouchers: GrantStore, cache: VoucherCache
    ) -> None:
        """Reread from this broker, decide in these stores, tell this cache."""
        self._jetstream = jetstream
        self._campaigns = campaigns
        self._vouchers = vouchers
        self._cache = cache

    async def run(self) -> None:
        """Look after campaigns until cancelled; after any error but ConnectionClosedError, begin anew."""
        while True:
            try:
                await self._campaigns.keep_schedule()
                for record in await self._campaigns.find_behind():
                    await self._catch_up(record)
                await asyncio.sleep(_ROUND_SECONDS)
                continue
            except CursorMoved:
                log.debug("catch_up_overtaken")
            except (Gap, MalformedEvent) as error:
                log.error("ledger_gap", what=str(error), do="see docs/runbook.md")
            except nats.errors.ConnectionClosedError:
                raise  # for good: see connect_nats
            except (nats.errors.Error, PyMongoError, LookupError, TimeoutError, Unavailable) as error:
                log.warning("caretaker_interrupted", error=type(error).__name__)
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _catch_up(self, record: CampaignRecord) -> None:
        """Judge the first logins after the last winner once more, in order, until the campaign is in step."""
        n = record.reread_n
        if n is None:
            return
        async with first_logins_from(self._jetstream, n + 1) as stream:
            while n is not None:
                events = next_in_order(n, await stream.next_batch())
                crash_point("caretaker.fetched")
                result = await self._vouchers.commit_catch_up(record.campaign.id, n, events)
                crash_point("caretaker.after_commit")
                await show(result.vouchers, self._cache)
                n = result.reached_n
