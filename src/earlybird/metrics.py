"""Every metric: its name, its labels, what it says. docs/metrics.md is the same table for operators.

They are counted where things happen, and shown at `/metrics` of each role (`infra.http.metrics`). They live at
module level, on the registry of the process, as Prometheus has it (docs/decisions/0020). Names and units follow
the Prometheus conventions: base units, `_total` for what only grows.

No label takes what a client sends: each has a bounded set of values.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RequestTimes(Collector):
    """A histogram of requests by labels, for one thread. That of the library costs a read four times as much.

    `note` keeps a request, and the buckets count them by the hundred: code that has left the processor's caches by
    the next request is slow.
    """

    _type, _AT_ONCE = "histogram", 256

    def __init__(self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """Make it, and have the registry of the process show it. `bounds` are in seconds."""
        self._name, self._documentation, self._labelnames = name, documentation, tuple(labels)
        self._bounds = tuple(bounds)
        self._noted: list[tuple[tuple[str, ...], float]] = []
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def note(self, labels: tuple[str, ...], seconds: float) -> None:
        """Note one request."""
        self._noted.append((labels, seconds))
        if len(self._noted) >= self._AT_ONCE:
            self._count()

    def _count(self) -> None:
        noted, self._noted = self._noted, []
        for labels, seconds in noted:
            counts = self._counts.get(labels)
            if counts is None:
                counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            counts[bisect_left(self._bounds, seconds)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + seconds

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return the metric without its figures."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the figures of now."""
        self._count()
        [family] = self.describe()
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), self._sums[labels])
        return [family]


def _looked_up(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
    """Make a gauge that only the role shows which looks it up: elsewhere its 0 would pass for a figure."""
    return Gauge(name, meaning, labels, registry=None)


BUILD_INFO = Gauge("earlybird_build_info", "The version that runs; always 1", ["version"])

# HTTP
REQUEST_SECONDS = RequestTimes(
    "earlybird_http_request_duration_seconds",
    "Time from a request's head to the end of its answer",
    ("method", "route", "status"),
    _SECONDS,
)
REFUSALS = Counter("earlybird_refusals", "Requests refused, by the code of the refusal", ["code"])
CHECK_PASSING = Gauge("earlybird_check_passing", "Whether a readiness check passed when last asked", ["check"])

# Who people are
LOGINS = Counter("earlybird_logins", "Logins by outcome: succeeded, or the code of the refusal", ["outcome"])
FIRST_LOGINS = Counter("earlybird_first_logins", "First logins that this process committed")
REGISTRATIONS = Counter("earlybird_registrations", "Accounts made")
THROTTLED = Counter("earlybird_throttled", "Attempts refused because there were too many, by limit", ["limit"])
TOKEN_FAILURES = Counter("earlybird_token_failures", "Tokens refused, by reason", ["reason"])
HASH_SECONDS = Histogram(
    "earlybird_hash_duration_seconds", "Time of one password hash, without the wait for a slot", buckets=_SECONDS
)
HASH_SLOTS = Gauge("earlybird_hash_slots", "Passwords that this process hashes at once, at most")
HASH_CAPACITY = Gauge("earlybird_hash_capacity", "Requests let in at once: being hashed, or waiting for a slot")
HASHES_ADMITTED = Gauge("earlybird_hashes_admitted", "Requests let in now; what exceeds the slots waits")
MESSAGES = Counter(
    "earlybird_messages", "Mails and short messages, by what became of them", ["channel", "outcome"]
)

VALKEY_FAILURES = Counter(
    "earlybird_valkey_failures", "Times that Valkey failed, and was left alone for a second, by use", ["use"]
)

# The order, and its way to vouchers
LEDGER_HEAD = _looked_up("earlybird_ledger_head", "Number of the newest first login in the ledger")
STREAM_HEAD = _looked_up("earlybird_stream_head", "Number of the newest first login in the stream")
CURSOR = _looked_up("earlybird_cursor", "Number of the last first login that was judged")
RELAY_LAG_ENTRIES = _looked_up("earlybird_relay_lag_entries", "First logins in the ledger, not yet in the stream")
RELAY_LAG_SECONDS = _looked_up(
    "earlybird_relay_lag_seconds", "Age of the oldest first login not yet in the stream"
)
GRANTER_LAG_ENTRIES = _looked_up("earlybird_granter_lag_entries", "First logins in the stream, not yet judged")
GRANTER_LAG_SECONDS = _looked_up("earlybird_granter_lag_seconds", "Age of the oldest first login not yet judged")
PLACER_LAG_ENTRIES = _looked_up("earlybird_placer_lag_entries", "First logins judged, without a noted place yet")
STREAM_LEADER = _looked_up(
    "earlybird_stream_leader", "The NATS server that leads the stream; always 1", ("member",)
)
WORKER_WORKING = Gauge("earlybird_worker_working", "Whether a worker works or stands by", ["worker"])
INTERRUPTIONS = Counter(
    "earlybird_worker_interruptions", "Interruptions of a worker, by the event that it logs", ["worker", "event"]
)

# Vouchers
GRANTS = Counter("earlybird_vouchers_granted", "Vouchers that this process granted")
REDEMPTIONS = Counter("earlybird_redemptions", "What was done with vouchers", ["action"])
WITHDRAWALS = Counter("earlybird_withdrawals", "Vouchers taken back for good")
REMAINING = _looked_up(
    "earlybird_campaign_vouchers_remaining", "Vouchers left in the open campaign; NaN if none is open"
)
CACHE_READS = Counter("earlybird_cache_reads", "Looks at the voucher cache, by result", ["result"])

# Webhooks
WEBHOOK_DELIVERIES = Counter("earlybird_webhook_deliveries", "Attempts to deliver, by outcome", ["outcome"])
WEBHOOKS_DEAD = _looked_up(
    "earlybird_webhook_dead", "Subjects whose next event could not be delivered to a webhook in three days"
)

# What the process leans on
POOL_CONNECTIONS = Gauge("earlybird_mongodb_pool_connections", "Connections to MongoDB, by state", ["state"])
MONGODB_PRIMARY = _looked_up(
    "earlybird_mongodb_primary", "The member of MongoDB that is primary; always 1", ("member",)
)
POOL_WAITING = Gauge("earlybird_mongodb_pool_waiting", "Operations that wait for a connection to MongoDB")
OUTBOX_MESSAGES = _looked_up(
    "earlybird_outbox_messages", "What waits in an outbox, counted up to 10,000", ("outbox",)
)
OUTBOX_SECONDS = _looked_up(
    "earlybird_outbox_oldest_seconds", "Age of the oldest that waits in an outbox", ("outbox",)
)
SAMPLES_FAILED = Counter(
    "earlybird_samples_failed", "Looks at a server that failed; what they would show is NaN then", ["sample"]
)
