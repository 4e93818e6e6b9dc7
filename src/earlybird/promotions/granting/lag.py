"""How far the granter is behind the stream, for those who watch. Nothing is decided by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import nats.js.errors
from nats.js import JetStreamContext
from prometheus_client import Gauge

from earlybird.events import STREAM, FirstLogin
from earlybird.metrics import CURSOR, GRANTER_LAG_ENTRIES, GRANTER_LAG_SECONDS
from earlybird.promotions.granting.store import GrantStore

GRANTER_GAUGES = (CURSOR, GRANTER_LAG_ENTRIES, GRANTER_LAG_SECONDS)


@dataclass(frozen=True, slots=True)
class GranterLag:
    """Where stream and cursor stand. `oldest_waiting_at`: the first login that has waited longest to be judged."""

    stream_head: int
    cursor: int
    oldest_waiting_at: datetime | None

    @property
    def entries(self) -> int:
        """First logins in the stream that are not judged."""
        return max(0, self.stream_head - self.cursor)

    def seconds(self, now: datetime) -> float:
        """Return for how long the oldest of them has waited, since its login."""
        return 0.0 if self.oldest_waiting_at is None else max(0.0, (now - self.oldest_waiting_at).total_seconds())


async def read_granter_lag(store: GrantStore, jetstream: JetStreamContext) -> GranterLag:
    """Look at both. Raises what their drivers raise, NotMigrated and MalformedEvent."""
    cursor = await store.cursor()
    try:
        head = (await jetstream.stream_info(STREAM)).state.last_seq
        waiting = (await jetstream.get_msg(STREAM, cursor + 1)).data if head > cursor else None
    except nats.js.errors.NotFoundError:
        head, waiting = 0, None
    oldest = FirstLogin.from_json(waiting).first_login_at if waiting else None
    return GranterLag(head, cursor, oldest)


async def sample_granter_lag(store: GrantStore, jetstream: JetStreamContext) -> Mapping[Gauge, float]:
    """Return what the gauges show."""
    lag = await read_granter_lag(store, jetstream)
    return {
        CURSOR: lag.cursor,
        GRANTER_LAG_ENTRIES: lag.entries,
        GRANTER_LAG_SECONDS: lag.seconds(datetime.now(UTC)),
    }
