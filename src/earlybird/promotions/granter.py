"""The granter: pulls first logins from the stream and commits the vouchers they earn.

Where it stands is the cursor in MongoDB, moved in the same transaction as the vouchers; the consumer in NATS
only reads, from cursor + 1 on, and is made anew whenever in doubt. Any number may run.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from pymongo.errors import DuplicateKeyError, PyMongoError

from earlybird.events import STREAM, SUBJECT, FirstLogin, MalformedEvent
from earlybird.infra.crash import crash_point
from earlybird.promotions.model import Gap, Voucher, next_in_order
from earlybird.promotions.store import CursorMoved, VoucherStore
from earlybird.promotions.voucher_cache import VoucherCache

log = structlog.get_logger()

_BATCH = 500  # first logins per transaction, at most
_FETCH_SECONDS = 1
_BACK_OFF_SECONDS = 0.25
_STAND_BY_SECONDS = 0.1  # after another granter was quicker: let it work
_CONSUMER_LIFE_SECONDS = 30  # NATS drops a consumer that nobody reads for so long


class Granter:
    """Stream → vouchers."""

    def __init__(self, jetstream: JetStreamContext, store: VoucherStore, cache: VoucherCache) -> None:
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
        """Grant until cancelled; after any error, start again from the cursor."""
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
            except (nats.errors.Error, PyMongoError, LookupError, TimeoutError) as error:
                log.warning("granter_interrupted", error=type(error).__name__)
            self._follows = False
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _follow(self) -> None:
        cursor = await self._store.cursor()
        consumer = await self._subscribe(cursor + 1)
        try:
            while True:
                messages = await self._fetch(consumer)
                self._follows = True
                crash_point("granter.fetched")
                events = next_in_order(cursor, [FirstLogin.from_json(message.data) for message in messages])
                if events:
                    cursor = await self._grant(cursor, events)
        finally:
            await consumer.unsubscribe()

    async def _subscribe(self, first: int) -> JetStreamContext.PullSubscription:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_CONSUMER_LIFE_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        return await self._jetstream.pull_subscribe(SUBJECT, stream=STREAM, config=config)

    async def _fetch(self, consumer: JetStreamContext.PullSubscription) -> Sequence[Msg]:
        """Wait for messages; none after a while is no error, unless the consumer is gone."""
        try:
            return await consumer.fetch(_BATCH, timeout=_FETCH_SECONDS)
        except TimeoutError:
            await consumer.consumer_info()
            return []

    async def _grant(self, cursor: int, events: Sequence[FirstLogin]) -> int:
        crash_point("granter.before_transaction")
        vouchers = await self._store.commit_awards(cursor, events, datetime.now(UTC))
        crash_point("granter.after_commit")
        await self._show(vouchers)
        crash_point("granter.after_cache")
        return events[-1].n

    async def _show(self, vouchers: Sequence[Voucher]) -> None:
        if vouchers:
            await self._cache.put(vouchers, datetime.now(UTC))
            log.info("vouchers_granted", first=vouchers[0].position, last=vouchers[-1].position)
