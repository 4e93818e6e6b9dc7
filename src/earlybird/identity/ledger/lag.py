"""How far the stream is behind the ledger, for those who watch. Nothing is decided by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.js.errors
from nats.js import JetStreamContext
from prometheus_client import Gauge

from earlybird.events import STREAM
from earlybird.identity.ledger.store import Ledger
from earlybird.metrics import LEDGER_HEAD, RELAY_LAG_ENTRIES, RELAY_LAG_SECONDS, STREAM_HEAD, STREAM_LEADER

RELAY_GAUGES = (LEDGER_HEAD, STREAM_HEAD, RELAY_LAG_ENTRIES, RELAY_LAG_SECONDS)


@dataclass(frozen=True, slots=True)
class RelayLag:
    """Where ledger and stream stand; `oldest_waiting_at` is the first login that waits longest for the stream."""

    ledger_head: int
    stream_head: int
    oldest_waiting_at: datetime | None
    stream_leader: str | None  # name of the NATS server that leads the stream; None: there is one server

    @property
    def entries(self) -> int:
        """First logins in the ledger that are not in the stream."""
        return max(0, self.ledger_head - self.stream_head)

    def seconds(self, now: datetime) -> float:
        """Return for how long the oldest of them has waited."""
        return 0.0 if self.oldest_waiting_at is None else max(0.0, (now - self.oldest_waiting_at).total_seconds())


async def read_relay_lag(ledger: Ledger, jetstream: JetStreamContext) -> RelayLag:
    """Look at both. Raises what their drivers raise, and NotMigrated."""
    head = (await ledger.head()).n
    try:
        info = await jetstream.stream_info(STREAM)
    except nats.js.errors.NotFoundError:
        last, leader = 0, None
    else:
        last, leader = info.state.last_seq, info.cluster.leader if info.cluster else None
    waiting = await ledger.find_nearby(last + 1) if head > last else None
    return RelayLag(head, last, waiting.first_login_at if waiting else None, leader)


async def sample_relay_lag(ledger: Ledger, jetstream: JetStreamContext) -> Mapping[Gauge, float]:
    """Return what the gauges show."""
    STREAM_LEADER.clear()
    lag = await read_relay_lag(ledger, jetstream)
    if lag.stream_leader is not None:
        STREAM_LEADER.labels(lag.stream_leader).set(1)
    return {
        LEDGER_HEAD: lag.ledger_head,
        STREAM_HEAD: lag.stream_head,
        RELAY_LAG_ENTRIES: lag.entries,
        RELAY_LAG_SECONDS: lag.seconds(datetime.now(UTC)),
    }
