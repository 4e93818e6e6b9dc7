"""Every metric: its name, its labels, what it says. docs/metrics.md is the same table for operators.

They are counted where things happen, and shown at `/metrics` of each role (`infra.http.metrics`). They live at
module level, on the registry of the process, as Prometheus has it (docs/decisions/0020). Names and units follow
the Prometheus conventions: base units, `_total` for what only grows.

No label takes what a client sends: each has a bounded set of values.
"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _looked_up(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
    """Make a gauge that only the role shows which looks it up: elsewhere its 0 would pass for a figure."""
    return Gauge(name, meaning, labels, registry=None)


BUILD_INFO = Gauge("earlybird_build_info", "The version that runs; always 1", ["version"])

# HTTP
REQUEST_SECONDS = Histogram(
    "earlybird_http_request_duration_seconds",
    "Time from a request's head to the end of its answer",
    ["method", "route", "status"],
    buckets=_SECONDS,
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
