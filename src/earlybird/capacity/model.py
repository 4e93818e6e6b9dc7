"""From people and minutes to cores, processes, pools and disks; and which part gives way first. Pure.

A part's cores are its requests a second times its measured CPU for each, at a busy share at which queues are
still short. The order of first logins is one line: sequencer, relay and granter work one at a time, however many
run. So each has a limit that no further process lifts, and so has the primary of a MongoDB that is not sharded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earlybird.capacity.costs import Costs

BUSY = 0.7  # share of a core that is planned for: beyond it queues grow faster than load
PEAK = 3.0  # the busiest second of a launch against its mean
READS_EACH = 10  # looks at the voucher for each login
MEMBERS = 3  # of MongoDB and of NATS. Each is planned like the first among them, which it may become.
_IN_LINE = ("sequencer", "relay", "granter")


@dataclass(frozen=True, slots=True)
class Launch:
    """What comes: so many people, each of whom logs in once within so many minutes."""

    users: int
    minutes: float
    peak: float = PEAK
    reads_each: float = READS_EACH

    @property
    def logins_per_second(self) -> float:
        """In the busiest second."""
        return self.users / (self.minutes * 60) * self.peak


@dataclass(frozen=True, slots=True)
class Part:
    """What one part needs."""

    name: str
    per_second: float  # of its requests or entries, in the busiest second
    cores: float  # busy, in that second
    processes: int
    most_per_second: float | None = None  # beyond it, no further process helps

    @property
    def share_of_limit(self) -> float:
        """How near its limit it works; 0 without a limit."""
        return self.per_second / self.most_per_second if self.most_per_second else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a launch needs."""

    launch: Launch
    parts: Sequence[Part]
    mongodb_connections: int  # per process of identity and promotions
    mongodb_gib: float  # each member, data and indexes
    oplog_gib: float  # for a day of follow-up at this size
    cache_gib: float  # of each mongod: indexes, and the accounts that log in
    nats_gib: float
    valkey_gib: float

    @property
    def cores(self) -> float:
        """All cores together, at the busy share."""
        return sum(part.cores for part in self.parts) / BUSY

    @property
    def first_to_give_way(self) -> Part:
        """The part that is nearest its limit."""
        return max(self.parts, key=lambda part: part.share_of_limit)

    @property
    def most_logins_per_second(self) -> float:
        """What the part that gives way first bears."""
        part = self.first_to_give_way
        return self.launch.logins_per_second / part.share_of_limit


def plan(launch: Launch, costs: Costs) -> Plan:
    """Work out what a launch needs."""
    logins, reads = launch.logins_per_second, launch.logins_per_second * launch.reads_each
    login, read, entry = costs.login_ms, costs.read_ms, costs.entry_ms
    parts = [
        _pooled("identity", logins, costs.hash_ms + login["identity"]),
        _pooled("promotions", reads, read["promotions"]),
        _pooled("envoy", logins + reads, _mean(logins, login["envoy"], reads, read["envoy"])),
        *(Part(one, logins, logins * entry[one] / 1000, 2, costs.line_per_second[one]) for one in _IN_LINE),
        _limited("mongod", MEMBERS, logins, login["mongod"] + entry["mongod"], costs.mongod_writes),
        _limited("nats", MEMBERS, logins, entry["nats"], None),
        _limited(
            "valkey",
            1,
            logins + reads,
            _mean(logins, login["valkey"], reads, read["valkey"]),
            1000 / read["valkey"],
        ),
    ]
    identity = parts[0].processes
    gib = launch.users / 2**30
    return Plan(
        launch,
        parts,
        # Little's law: requests in MongoDB at once, each for some milliseconds; never fewer than a burst needs.
        mongodb_connections=max(10, math.ceil(logins / identity * costs.mongod_wait_ms / 1000 * 4)),
        mongodb_gib=gib * costs.stored_bytes["mongodb"],
        oplog_gib=gib * costs.stored_bytes["oplog"],
        cache_gib=gib * costs.stored_bytes["mongodb indexes"] + 1,
        nats_gib=gib * costs.stored_bytes["nats"],
        valkey_gib=gib * costs.stored_bytes["valkey"],
    )


def predicted_rate(processes: int, cores: int, hash_ms: float, loop_ms: float, beside_ms: float) -> float:
    """Return logins a second of so many identity processes, of one slot each, on a machine with so many cores.

    A process hashes on one core (`hash_ms` of CPU for each login) while its event loop does the rest on another
    (`loop_ms`). `beside_ms` is the CPU of all others on the machine, the client too.
    """
    alone = processes * 1000 / max(hash_ms, loop_ms)
    together = cores * 1000 / (hash_ms + loop_ms + beside_ms)
    return min(alone, together)


def _pooled(name: str, per_second: float, ms: float) -> Part:
    cores = per_second * ms / 1000
    return Part(name, per_second, cores, max(2, math.ceil(cores / BUSY)))  # two, so that one may fail


def _limited(name: str, servers: int, per_second: float, ms: float, most: float | None) -> Part:
    return Part(name, per_second, servers * per_second * ms / 1000, servers, most)


def _mean(one: float, one_ms: float, other: float, other_ms: float) -> float:
    return (one * one_ms + other * other_ms) / (one + other)


def sizes(costs: Costs, minutes: float, users: Sequence[int]) -> Mapping[int, Plan]:
    """Work out several sizes."""
    return {one: plan(Launch(one, minutes), costs) for one in users}
