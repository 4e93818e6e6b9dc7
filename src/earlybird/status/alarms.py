"""The table of alarms: when, what it means, what to do first, and the runbook's section that goes on from there.

`earlybird status` asks it, and deploy/prometheus/alerts.yml is made from it:
`python -m earlybird.status.rules > deploy/prometheus/alerts.yml`.

An alarm is something that people feel, or will soon. There is none for "nobody logs in while a campaign is open":
nights are like that. The most urgent come first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from earlybird.status import conditions as when
from earlybird.status.looks import Look, Series

Unit = Literal["seconds", "share", "number"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `summary` may hold {value} and the labels of the condition's result."""

    name: str
    severity: Literal["critical", "warning", "info"]  # wake somebody; look today; good to know
    condition: when.Condition
    summary: str
    means: str
    do_first: str
    section: str  # of docs/runbook.md
    lasts: str = "1m"  # Prometheus waits for as long before it tells
    unit: Unit = "number"


@dataclass(frozen=True, slots=True)
class Finding:
    """An alarm that holds now, with its figures filled in."""

    alarm: Alarm
    summary: str

    def as_json(self) -> dict[str, str]:
        """Return it for programs."""
        told = ("name", "severity", "means", "do_first", "section")
        return {"summary": self.summary, **{name: getattr(self.alarm, name) for name in told}}


def find(before: Look, after: Look) -> Sequence[Finding]:
    """Return what is wrong, the most urgent first."""
    found = [
        Finding(alarm, alarm.summary.format(**hit.labels, value=shown(hit.value, alarm.unit)))
        for alarm in ALARMS
        for hit in alarm.condition.hits(before, after)
    ]
    return sorted(found, key=lambda one: ("critical", "warning", "info").index(one.alarm.severity))


def shown(value: float, unit: Unit) -> str:
    """Write a figure for people."""
    match unit:
        case "share":
            return f"{value:.0%}"
        case "seconds":
            return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"
        case _:
            return f"{value:,.1f}".removesuffix(".0")


_REQUESTS = "earlybird_http_request_duration_seconds"
# Of logins and registrations a 503 is overload, too: they have alarms of their own.
_OTHERS = ("route", "!~", "/readyz|/healthz|/metrics|/login|/register")

ALARMS = (
    Alarm(
        "LedgerBroken", "critical", when.Interrupted(("invariant_broken",)),
        "The {worker} found data that contradict a promise ({event})",
        "Somebody changed data by hand, or restored a part of them. The worker writes nothing.",
        "Change nothing. Run `earlybird backup evidence`, then `earlybird audit`.", "Something else wrote", "0m",
    ),
    Alarm(
        "StreamAhead", "critical", when.Interrupted(("stream_ahead",)),
        "The stream holds what the ledger does not: the {worker} publishes nothing",
        "A wrong NATS, a restored MongoDB, or somebody else published. Granters may judge what never happened.",
        "Stop the granters. Then check EARLYBIRD_NATS_URL.", "Stream not of this ledger", "0m",
    ),
    Alarm(
        "GranterHalted", "critical", when.Interrupted(("ledger_gap", "malformed_event")),
        "The {worker} has stopped at a message that does not go on from the last ({event})",
        "People who logged in since wait for their voucher, and keep their place.",
        "Run `earlybird audit`; it names the place. Then `earlybird reset-stream`.", "Granter halted", "0m",
    ),
    Alarm(
        "ProcessDown", "critical", when.Away(),
        "{instance} does not answer",
        "The process is stopped, stuck, or out of reach. Others of its role go on; without any, its work waits.",
        "Is it running? Read the last lines of its log, and start it again.", "A process is down",
    ),
    Alarm(
        "MongodbAway", "critical",
        when.Level(Series("earlybird_check_passing", (("check", "=", "mongodb"),)), "==", 0),
        "MongoDB answers nobody",
        "Nobody can register, log in or redeem. What is stored stays; workers go on where they stood.",
        "Start MongoDB: a primary needs more than half of the members. All other alarms wait for this.",
        "MongoDB is away",
    ),
    Alarm(
        "NatsAway", "critical",
        when.Level(Series("earlybird_check_passing", (("check", "=", "revocations"),)), "==", 0),
        "NATS answers nobody",
        "People log in, in order, and wait for their voucher. Sessions that end are not told to the services.",
        "Start NATS, more than half of its servers. Idle workers and stale revocations follow from this.",
        "NATS is away",
    ),
    Alarm(
        "CheckFailing", "critical",
        when.Level(Series("earlybird_check_passing", (("check", "=~", "mongodb|keys|revocations_at_start"),)),
                   "==", 0, "min", ("instance", "check")),
        "{instance} is not ready: {check}",
        "The balancer sends it nothing. What it needs does not answer.",
        "Is the server that the check names up, and can this machine reach it?", "A check fails",
    ),
    Alarm(
        "WorkerIdle", "critical",
        when.Level(Series("earlybird_worker_working", (("worker", "!=", "revocationfeed"),)), "==", 0, "max",
                   ("worker",)),
        "No {worker} works",
        "What it does waits. Nobody loses a place.",
        "Read the warnings in its log: they name the server that does not answer.", "A worker does not work",
    ),
    Alarm(
        "RelayBehind", "critical", when.Level(Series("earlybird_relay_lag_seconds"), ">", 10),
        "First logins have waited for {value} to reach the stream",
        "Winners see their voucher late. Nobody loses a place.",
        "Is NATS up, with more than half of its servers? Then look at the relay's log.", "First logins wait",
        unit="seconds",
    ),
    Alarm(
        "GranterBehind", "critical", when.Level(Series("earlybird_granter_lag_seconds"), ">", 10),
        "First logins have waited for {value} to be judged",
        "Winners see their voucher late. Nobody loses a place.",
        "Is a granter running and working? Is MongoDB slow? Then look at the granter's log.", "First logins wait",
        unit="seconds",
    ),
    Alarm(
        "Errors", "critical", when.Rate(Series(f"{_REQUESTS}_count", (("status", "=", "500"),)), 0.01, ("route",)),
        "{value} requests a second to {route} meet an error in our code (500)",
        "People see a failure that trying again may not mend.",
        "Read the traceback after `request_failed` in that service's log. Is it the newest version? Take it back.",
        "Errors",
    ),
    Alarm(
        "LoginsUnavailable", "critical",
        when.Ratio(Series("earlybird_logins_total", (("outcome", "=", "unavailable"),)),
                   Series("earlybird_logins_total"), 0.02),
        "{value} of the logins cannot be answered (503)",
        "MongoDB's `identity` has no primary, or does not answer. People try again; nobody has a place yet.",
        "Look after MongoDB: is there a primary, and more than half of its members?",
        "Answers of 503", unit="share",
    ),
    Alarm(
        "Unavailable", "critical",
        when.Ratio(Series(f"{_REQUESTS}_count", (("status", "=", "503"), _OTHERS)),
                   Series(f"{_REQUESTS}_count", (_OTHERS,)), 0.02),
        "{value} of the requests that are no logins cannot be answered (503)",
        "A server that they need is away. Vouchers are still shown while one member of MongoDB answers.",
        "Which route? Redeeming and places need identity; all need MongoDB.", "Answers of 503", unit="share",
    ),
    Alarm(
        "LoginSlow", "warning",
        when.Slow(Series(_REQUESTS, (("route", "=", "/login"), ("status", "=", "200"))), 1),
        "One login in a hundred takes {value} or longer",
        "The queue for password hashes is full, or MongoDB is slow.",
        "Compare the hash pool with MongoDB's pool: the one that has people waiting is the cause.",
        "Logins are slow", "5m", "seconds",
    ),
    Alarm(
        "Overloaded", "warning",
        when.Ratio(Series("earlybird_refusals_total", (("code", "=", "overloaded"),)),
                   Series("earlybird_hash_duration_seconds_count"), 0.1),
        "For each password that is hashed, {value} requests are refused for overload",
        "More people log in than the cores can hash. They are told to come again. The balancer refuses more.",
        "Add identity processes on other machines. Never lower the cost of a hash.", "Overload", "2m",
    ),
    Alarm(
        "GuessesRefused", "warning", when.Rate(Series("earlybird_throttled_total"), 1),
        "{value} attempts a second are refused because there were too many",
        "Somebody guesses passwords, or many people share one address.",
        "See whether it is one limit: `guesses` is an attack on accounts, another is one address.",
        "Many attempts are refused", "5m",
    ),
    Alarm(
        "TokensRefused", "warning",
        when.Rate(Series("earlybird_token_failures_total", (("reason", "=~", "forged|no_account"),)), 0.5),
        "{value} tokens a second are refused as forged, or of nobody",
        "An attack; or services that know different keys, after a rotation or a restore.",
        "Compare `earlybird keys list` with what /.well-known/jwks.json gives.", "Tokens are refused", "5m",
    ),
    Alarm(
        "ValkeyAway", "warning",
        when.Rate(Series("earlybird_valkey_failures_total"), 0.05, ("use",)),
        "Valkey does not answer the {use}",
        "Vouchers are read from MongoDB: slower, and right. Guesses are counted by each process for itself.",
        "Start Valkey. Nothing needs to be restored.", "Valkey is away", "2m",
    ),
    Alarm(
        "RevocationsStale", "warning",
        when.Level(Series("earlybird_check_passing", (("check", "=", "revocations"),)), "==", 0, "min",
                   ("instance",)),
        "{instance} does not learn which sessions have ended",
        "A token of an ended session may still be taken, for as long as it lives; or all are refused, as set.",
        "Is NATS up, and may this service read the bucket `revocations`?", "Revocations are stale", "2m",
    ),
    Alarm(
        "MongoPoolExhausted", "warning",
        when.Level(Series("earlybird_mongodb_pool_waiting"), ">", 10, by=("instance",)),
        "{value} operations of {instance} wait for a connection to MongoDB",
        "MongoDB answers slowly, or does not.",
        "Look at MongoDB's slow operations and its disk, not at the pool's size.", "MongoDB is slow", "1m",
    ),
    Alarm(
        "OutboxGrows", "warning", when.Level(Series("earlybird_outbox_oldest_seconds"), ">", 60, by=("outbox",)),
        "What waits in the outbox of {outbox} has waited for {value}",
        "Voucher events, or letters with codes, leave late. None is lost.",
        "vouchers: is NATS up? letters: are a courier and the mail server up? "
        "webhooks: is the receiver up?", "An outbox grows", "2m", "seconds",
    ),
    Alarm(
        "LettersGivenUp", "warning",
        when.Ratio(Series("earlybird_messages_total", (("outcome", "=", "given_up"),)),
                   Series("earlybird_messages_total"), 0.2, 0.005),
        "{value} of the tries to send a message ended in giving up",
        "People cannot confirm who they are, so they cannot log in.",
        "Look for `message_given_up` in the courier's log: `reason` names the cause.",
        "Letters are given up", "5m", "share",
    ),
    Alarm(
        "WebhookDead", "warning", when.Level(Series("earlybird_webhook_dead"), ">", 0),
        "For {value} subjects a webhook took nothing for three days",
        "Another system misses events. None is lost: they wait, in order.",
        "`earlybird webhook list`: whose is it? Mend the receiver, then `earlybird webhook replay`.",
        "A webhook is dead", "1m",
    ),
    Alarm(
        "PlacerBehind", "warning", when.Level(Series("earlybird_placer_lag_entries"), ">", 1000),
        "{value} people have no noted place yet",
        "They read `waiting` for their number in line. Vouchers are not concerned.",
        "Look at the placer's warnings in the granter's log.", "First logins wait", "5m",
    ),
    Alarm(
        "FiguresMissing", "warning", when.Rate(Series("earlybird_samples_failed_total"), 0.05, ("sample",)),
        "The figures of {sample} cannot be looked up",
        "Lags and depths are unknown, so other alarms may be silent.",
        "Is the server behind that figure up, and does it answer within a second?", "Figures are missing", "2m",
    ),
    Alarm(
        "VersionsDiffer", "warning", when.Differ(),
        "{value} versions run side by side",
        "A rolling update has not ended.",
        "End it, or take it back. Run `earlybird migrate` of the newer version.", "Versions differ", "30m",
    ),
    Alarm(
        "SoldOut", "info",
        when.Level(Series("earlybird_campaign_vouchers_remaining"), "==", 0, sample="remaining"),
        "The open campaign has no vouchers left",
        "All N are granted. Those who come now get none.",
        "Nothing; or the campaign's manager raises N, and the next in line get theirs.", "Sold out", "0m",
    ),
)  # fmt: skip
