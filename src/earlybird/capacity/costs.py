"""What things cost, as `make bench` measured it: milliseconds of one core, and bytes for each person."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one deployment, while all cores are busy. The defaults are those of docs/performance.md."""

    hash_ms: float = 20.0  # Argon2id, 19 MiB, 2 iterations
    login_ms: Mapping[str, float] = field(  # of a first login, beside the hash
        default_factory=lambda: {"identity": 3.5, "envoy": 0.3, "mongod": 1.2, "valkey": 0.15}
    )
    read_ms: Mapping[str, float] = field(
        default_factory=lambda: {"promotions": 0.05, "envoy": 0.2, "valkey": 0.01}
    )
    entry_ms: Mapping[str, float] = field(  # of one first login, on its way from commit to voucher, in batches
        default_factory=lambda: {"sequencer": 0.034, "relay": 0.064, "granter": 0.025, "mongod": 0.2, "nats": 0.23}
    )
    line_per_second: Mapping[str, float] = field(  # entries that each passes on by itself, on one core
        default_factory=lambda: {"sequencer": 15_500, "relay": 3_800, "granter": 27_500}
    )
    mongod_wait_ms: float = 10.0  # a first login waits this long for a majority
    mongod_writes: float = 5_000  # first logins a second that one primary commits: an estimate, not measured
    stored_bytes: Mapping[str, float] = field(
        default_factory=lambda: {
            "mongodb": 1500, "mongodb indexes": 400, "oplog": 1500, "nats": 350, "valkey": 600
        }
    )  # fmt: skip


MEASURED = Costs()
