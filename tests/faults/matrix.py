"""The matrix: every fault on every target that it can hit."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from faults.cluster import ClusterOptions
from faults.crash_faults import combinations, crash
from faults.faults import (
    Act,
    Targets,
    cut_between,
    drop_connections,
    every,
    fill_disk,
    follower,
    kill,
    leader,
    leader_and_follower,
    one,
    part_from_peers,
    partition,
    pause,
    primary,
    rolling_restart,
    secondary,
    skew_clock,
)
from faults.server_faults import (
    catch_up_and_lead,
    leave_commits_unknown,
    lose_oplog_history,
    roll_back_store,
    step_down_mid_transaction,
    wipe_stream,
)

SEEDS = 20  # for each cell, in the whole matrix
PROXIED = ClusterOptions(is_proxied=True)
SMALL_OPLOG = ClusterOptions(oplog_mb=8, checkpoint_seconds=1)
SMALL_DISK = ClusterOptions(checkpoint_seconds=1, disk_mb=700)
UPSTREAMS = ("identity-1", "identity-2", "promotions-1", "promotions-2")


@dataclass(frozen=True, slots=True)
class Cell:
    """A fault that happens to a target."""

    fault: str
    target: str
    act: Act
    options: ClusterOptions = field(default_factory=ClusterOptions)
    begins_within: float = 0.4  # when so large a part of the people has logged in, at the latest
    earlier_logins: int = 0
    raises_number: bool = False  # N begins at half, and is raised while the fault lasts
    withdraws: bool = False  # some winners are bots, whose vouchers are withdrawn while the fault lasts
    closes: bool = False  # the campaign is closed while the fault lasts: not all of N are granted
    misdates: bool = (
        False  # first logins are dated by a wrong clock: not all count, and no later run is as it should
    )
    keeps_events: bool = True  # a broker that loses its disk loses the voucher events it had acknowledged

    @property
    def name(self) -> str:
        """Name it for people and for files."""
        return f"{self.fault}: {self.target}"


def cells() -> Iterator[Cell]:
    """Give every cell."""
    single: dict[str, Targets] = {
        "mongod primary": primary,
        "mongod secondary": secondary,
        "NATS leader": leader,
        "NATS follower": follower,
        "relay": one("relay"),
        "granter": one("granter"),
        "identity": one("identity"),
        "promotions": one("promotions"),
        "Valkey": one("valkey"),
    }
    for name, targets in {**single, "all NATS": every("nats")}.items():
        yield Cell("killed", name, kill(targets))
        yield Cell("paused", name, pause(targets))
    closed = kill(every("granter"))  # what is judged after that must go by when people logged in
    yield Cell("killed", "granters, as the campaign closes", closed, begins_within=0.1, closes=True)
    yield Cell("killed", "granters, as vouchers are withdrawn", kill(every("granter")), withdraws=True)
    for name, targets in single.items():
        yield Cell("partitioned", name, partition(targets), PROXIED)
        yield Cell("partitioned one way", name, partition(targets, one_way=True), PROXIED)
    for name in ("mongod primary", "NATS leader"):  # who may take itself for what it is no more
        yield Cell("partitioned", f"{name}, from the other servers", part_from_peers(single[name]), PROXIED)
    yield Cell("partitioned", "an upstream of Envoy", cut_between("envoy", UPSTREAMS), PROXIED)
    one_way = cut_between("envoy", UPSTREAMS, one_way=True)
    yield Cell("partitioned one way", "an upstream of Envoy", one_way, PROXIED)
    for name, targets in {
        "every mongod": every("mongod"),
        "every NATS": every("nats"),
        "Valkey": every("valkey"),
        "upstreams of Envoy": every("identity", "promotions"),
    }.items():
        yield Cell("connections dropped", name, drop_connections(targets), PROXIED)
    for name in ("mongod primary", "mongod secondary", "NATS leader", "NATS follower"):
        yield Cell("disk full", name, fill_disk(single[name]), SMALL_DISK)
    # Not the NATS servers: Go asks the kernel for the time itself, where libfaketime cannot come between.
    dated = skew_clock(primary, primary=True)
    yield Cell("clock an hour off", "mongod primary", dated, begins_within=0.1, misdates=True)
    yield Cell("clock an hour off", "mongod secondary", skew_clock(secondary))
    roles = every("relay", "granter", "identity", "promotions")
    yield Cell("clock an hour off", "every role, each its own way", skew_clock(roles))
    yield Cell("step-down in mid-transaction", "mongod primary", step_down_mid_transaction)
    yield Cell("commit result unknown", "mongod primary", leave_commits_unknown)
    yield Cell("oplog rolled past the resume token", "mongod", lose_oplog_history, SMALL_OPLOG)
    yield Cell("stream wiped", "NATS", wipe_stream)
    yield Cell("store rolled back", "NATS leader", roll_back_store(leader), keeps_events=False)
    yield Cell("store rolled back", "NATS follower", roll_back_store(follower))
    majority = roll_back_store(leader_and_follower)
    yield Cell("store rolled back", "NATS leader and a follower", majority, keeps_events=False)
    yield Cell("store rolled back", "all NATS", roll_back_store(every("nats")), keeps_events=False)
    yield Cell("snapshot catch-up, then leader", "NATS follower", catch_up_and_lead)
    yield Cell("rolling restart", "everything", rolling_restart)
    for points in combinations():
        raises = any(point.startswith("caretaker.") for point in points)
        pages = 600 if "reconcile.page_appended" in points else 0  # a page is 500
        yield Cell(
            "dies at crash point",
            " + ".join(points),
            crash(points),
            begins_within=0.1,  # while there are vouchers to be granted
            earlier_logins=pages,
            raises_number=raises,
        )
