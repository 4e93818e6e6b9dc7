"""What things cost, as `make bench` measured it: milliseconds of one core, and bytes for each person."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one deployment. The defaults are those of docs/performance.md; `make bench` measures your own."""

    hash_ms: float = 22.0  # Argon2id, 19 MiB, 2 iterations
    login_ms: Mapping[str, float] = field(
        default_factory=lambda: {"identity": 1.2, "envoy": 0.1, "mongod": 0.35, "valkey": 0.03}
    )
    read_ms: Mapping[str, float] = field(
        default_factory=lambda: {"promotions": 0.05, "envoy": 0.06, "valkey": 0.005}
    )
    entry_ms: Mapping[str, float] = field(  # of one first login, on its way from commit to voucher, in batches
        default_factory=lambda: {"sequencer": 0.04, "relay": 0.07, "granter": 0.03, "mongod": 0.2}
    )
    mongod_wait_ms: float = 10.0  # a first login waits this long for a majority
    mongod_writes: float = (
        15_000  # first logins a second that one primary commits, with all that follows from them
    )
    stored_bytes: Mapping[str, float] = field(
        default_factory=lambda: {
            "mongodb": 1500, "mongodb indexes": 400, "oplog": 1500, "nats": 350, "valkey": 600
        }
    )  # fmt: skip


MEASURED = Costs()
