"""For each alarm: figures that make it ring, and figures that nearly do.

A series is (name with labels, value at the start, growth a minute). The same are given to Prometheus and to ours.
"""

Figures = list[tuple[str, float, float]]

_COUNT = "earlybird_http_request_duration_seconds_count"
_BUCKET = 'earlybird_http_request_duration_seconds_bucket{instance="a",route="/login",status="200",le="%s"}'
_EVENT = 'earlybird_worker_interruptions_total{instance="a",worker="%s",event="%s"}'
_SAMPLED = 'earlybird_samples_failed_total{instance="a",sample="%s"}'


def _latencies(*growths: float) -> Figures:
    return [
        (_BUCKET % bound, 0, growth) for bound, growth in zip(("0.5", "1", "2.5", "+Inf"), growths, strict=True)
    ]


def _checks(check: str, *values: float) -> Figures:
    return [
        (f'earlybird_check_passing{{instance="{n}",check="{check}"}}', value, 0) for n, value in enumerate(values)
    ]


def _workers(worker: str, *values: float) -> Figures:
    series = 'earlybird_worker_working{{instance="{}",worker="{}"}}'
    return [(series.format(number, worker), value, 0) for number, value in enumerate(values)]


CASES: dict[str, tuple[Figures, Figures]] = {
    "LedgerBroken": ([(_EVENT % ("granter", "invariant_broken"), 1, 60)], [(_EVENT % ("granter", "x"), 1, 60)]),
    "StreamAhead": ([(_EVENT % ("relay", "stream_ahead"), 1, 60)], [(_EVENT % ("relay", "stream_ahead"), 7, 0)]),
    "GranterHalted": (
        [(_EVENT % ("granter", "ledger_gap"), 1, 60)],
        [(_EVENT % ("granter", "cursor_moved"), 1, 60)],
    ),
    "ProcessDown": (
        [('up{job="earlybird",instance="a"}', 0, 0)],
        [('up{job="earlybird",instance="a"}', 1, 0), ('up{job="else",instance="b"}', 0, 0)],
    ),
    "MongodbAway": (_checks("mongodb", 0, 0), _checks("mongodb", 0, 1)),
    "NatsAway": (_checks("revocations", 0, 0), _checks("revocations", 0, 1)),
    "CheckFailing": (_checks("mongodb", 1, 0), _checks("mongodb", 1, 1) + _checks("revocations", 0)),
    "WorkerIdle": (_workers("relay", 0, 0), _workers("relay", 0, 1) + _workers("revocationfeed", 0)),
    "RelayBehind": ([("earlybird_relay_lag_seconds", 11, 0)], [("earlybird_relay_lag_seconds", 10, 0)]),
    "GranterBehind": ([("earlybird_granter_lag_seconds", 11, 0)], [("earlybird_granter_lag_seconds", 10, 0)]),
    "Errors": (
        [(f'{_COUNT}{{route="/voucher",status="500"}}', 0, 1)],
        [(f'{_COUNT}{{route="/voucher",status="500"}}', 5, 0), (f'{_COUNT}{{route="/x",status="503"}}', 0, 1)],
    ),
    "LoginsUnavailable": (
        [
            ('earlybird_logins_total{outcome="unavailable"}', 0, 60),
            ('earlybird_logins_total{outcome="ok"}', 0, 600),
        ],
        [
            ('earlybird_logins_total{outcome="unavailable"}', 0, 60),
            ('earlybird_logins_total{outcome="ok"}', 0, 6000),
        ],
    ),
    "Unavailable": (
        [(f'{_COUNT}{{route="/voucher",status="503"}}', 0, 60), (f'{_COUNT}{{route="/x",status="200"}}', 0, 600)],
        [(f'{_COUNT}{{route="{route}",status="503"}}', 0, 600) for route in ("/login", "/register", "/readyz")],
    ),
    "LoginSlow": (_latencies(0, 598, 700, 700), _latencies(600, 696, 700, 700)),
    "Overloaded": (
        [
            ('earlybird_refusals_total{code="overloaded"}', 0, 60),
            ("earlybird_hash_duration_seconds_count", 0, 500),
        ],
        [
            ('earlybird_refusals_total{code="overloaded"}', 0, 60),
            ("earlybird_hash_duration_seconds_count", 0, 700),
        ],
    ),
    "GuessesRefused": (
        [('earlybird_throttled_total{limit="guesses"}', 0, 61)],
        [('earlybird_throttled_total{limit="guesses"}', 0, 59)],
    ),
    "TokensRefused": (
        [('earlybird_token_failures_total{reason="forged"}', 0, 31)],
        [
            ('earlybird_token_failures_total{reason="forged"}', 0, 29),
            ('earlybird_token_failures_total{reason="expired"}', 0, 600),
        ],
    ),
    "ValkeyAway": (
        [('earlybird_valkey_failures_total{use="throttle"}', 0, 60)],
        [
            ('earlybird_valkey_failures_total{use="throttle"}', 0, 2),
            ('earlybird_valkey_failures_total{use="voucher_cache"}', 0, 2),
        ],
    ),
    "RevocationsStale": (_checks("revocations", 1, 0), _checks("revocations", 1, 1)),
    "MongoPoolExhausted": (
        [('earlybird_mongodb_pool_waiting{instance="a"}', 11, 0)],
        [('earlybird_mongodb_pool_waiting{instance="a"}', 10, 0)],
    ),
    "OutboxGrows": (
        [('earlybird_outbox_oldest_seconds{outbox="letters"}', 61, 0)],
        [('earlybird_outbox_oldest_seconds{outbox="letters"}', 60, 0)],
    ),
    "LettersGivenUp": (
        [
            ('earlybird_messages_total{channel="email",outcome="given_up"}', 0, 6),
            ('earlybird_messages_total{channel="email",outcome="sent"}', 0, 18),
        ],
        [
            ('earlybird_messages_total{channel="email",outcome="given_up"}', 0, 6),
            ('earlybird_messages_total{channel="email",outcome="sent"}', 0, 30),
        ],
    ),
    "WebhookDead": ([("earlybird_webhook_dead", 1, 0)], [("earlybird_webhook_dead", 0, 0)]),
    "PlacerBehind": ([("earlybird_placer_lag_entries", 1001, 0)], [("earlybird_placer_lag_entries", 1000, 0)]),
    "FiguresMissing": ([(_SAMPLED % "relay_lag", 0, 4)], [(_SAMPLED % "relay_lag", 0, 2)]),
    "VersionsDiffer": (
        [('earlybird_build_info{version="1"}', 1, 0), ('earlybird_build_info{version="2"}', 1, 0)],
        [(f'earlybird_build_info{{instance="{name}",version="1"}}', 1, 0) for name in "ab"],
    ),
    "SoldOut": (
        [
            ('earlybird_campaign_vouchers_remaining{instance="a"}', 0, 0),
            (_SAMPLED % "remaining", 0, 0),
        ],
        [
            ('earlybird_campaign_vouchers_remaining{instance="a"}', 1, 0),
            ('earlybird_campaign_vouchers_remaining{instance="b"}', 0, 0),
            (_SAMPLED % "remaining", 0, 0),
        ],
    ),
}
