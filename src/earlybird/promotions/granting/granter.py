"""The granter: pulls first logins from the stream and commits the vouchers they earn.

Where it stands is the cursor in MongoDB, moved in the same transaction as the vouchers. Any number may run.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from pymongo.errors import DuplicateKeyError, PyMongoError

from earlybird.events import STREAM, FirstLogin, MalformedEvent
from earlybird.infra.crash import crash_point
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.granting.first_logins import first_logins_from
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.model import Voucher

log = structlog.get_logger()

_BACK_OFF_SECONDS = 0.25
_STAND_BY_SECONDS = 0.1  # after another granter was quicker: let it work


class Granter:
    """Stream → vouchers."""

    def __init__(self, jetstream: JetStreamContext, store: GrantStore, cache: VoucherCache) -> None:
        """Read from this broker, decide in this store, tell this cache."""
        self._jetstream = jetstream
        self._store = store
        self._cache = cache
        self._follows = False

    async def check(self) -> None:
        """Return while it follows the stream; raise RuntimeError otherwise. A readiness check."""
        if not self._follows:
            raise RuntimeError("the granter does not follow the stream")

    async def run(self) -> None:
        """Grant until cancelled; after any error but ConnectionClosedError, start again from the cursor."""
        while True:
            try:
                await self._follow()
            except CursorMoved:
                log.debug("cursor_moved")
                await asyncio.sleep(_STAND_BY_SECONDS)
                continue
            except Gap as error:
                log.error("ledger_gap", what=str(error), do="see docs/runbook.md")
            except DuplicateKeyError:
                log.error("invariant_broken", what="a voucher was granted twice")
            except MalformedEvent as error:
                log.error("malformed_event", what=str(error))
            except nats.js.errors.NotFoundError:
                log.info("stream_awaited", stream=STREAM)
            except nats.errors.ConnectionClosedError:
                raise  # for good: see connect_nats
            except (nats.errors.Error, PyMongoError, LookupError, TimeoutError) as error:
                log.warning("granter_interrupted", error=type(error).__name__)
            self._follows = False
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _follow(self) -> None:
        cursor = await self._store.cursor()
        async with first_logins_from(self._jetstream, cursor + 1) as stream:
            while True:
                batch = await stream.next_batch()
                self._follows = True
                crash_point("granter.fetched")
                events = next_in_order(cursor, batch)
                if events:
                    cursor = await self._grant(cursor, events)

    async def _grant(self, cursor: int, events: Sequence[FirstLogin]) -> int:
        crash_point("granter.before_transaction")
        vouchers = await self._store.commit_awards(cursor, events)
        crash_point("granter.after_commit")
        await show(vouchers, self._cache)
        crash_point("granter.after_cache")
        return events[-1].n


async def show(vouchers: Sequence[Voucher], cache: VoucherCache) -> None:
    """Put vouchers just granted where GET /voucher looks first."""
    if vouchers:
        await cache.put(vouchers, datetime.now(UTC))
        log.info("vouchers_granted", first=vouchers[0].position, last=vouchers[-1].position)
