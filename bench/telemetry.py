"""What metrics cost: CPU of a role for each login and each GET /voucher, with them and without, in one run.

    python bench/telemetry.py [rounds]

Starts servers of its own, and each role three times: as it is, and twice with every instrument taken out. Load
goes to them in short turns, so that whatever else the machine does falls on all. CPU is that of the process, by
the kernel's own clock; a rate would say more of the neighbours. Prints medians over the rounds, and the median and
quartiles of the rounds' ratios to the first without metrics.
"""

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import uvloop
from open_loop import Target, answer, get, post
from uuid_utils.compat import uuid7

from earlybird.infra.mongo import connect_mongo
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.settings import Settings
from earlybird.stack.servers import Servers, running_servers

PEOPLE, PASSWORD = 32, "correct horse battery"
AT_ONCE = 8
# The control is without them too: what it shows is what the machine does to a measurement.
VARIANTS = ("without", "with", "control")
CHEAP = {"EARLYBIRD_PASSWORD_MEMORY_KIB": "8", "EARLYBIRD_PASSWORD_ITERATIONS": "1"}
ORDERS = tuple(itertools.permutations(range(len(VARIANTS))))
_PORT = 18600  # and those that follow
_START_SECONDS = 60
_WARM_UP = 6  # rounds that do not count


@dataclass
class Process:
    """One role, with metrics or without."""

    pid: int
    target: Target

    def cpu_ns(self) -> int:
        """Return what all its threads have used of a core so far."""
        return sum(int(one.read_text().split()[0]) for one in Path(f"/proc/{self.pid}/task").glob("*/schedstat"))

    def memory_kib(self) -> int:
        """Return its own memory: what is not shared with other processes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def serve(variant: str, *roles: str) -> None:
    """Be a role; without metrics, take out each place that costs something. Runs in a process of its own."""
    if variant != "with":
        from prometheus_client import Counter, Gauge, Histogram
        from prometheus_client.metrics import MetricWrapperBase

        from earlybird.infra import mongo
        from earlybird.infra.http import server

        def nothing(*_: object) -> None: ...

        for kind, methods in ((Counter, "inc"), (Gauge, "inc dec set set_function"), (Histogram, "observe")):
            for method in methods.split():
                setattr(kind, method, nothing)
        MetricWrapperBase.labels = lambda self, *_: self  # type: ignore[method-assign]
        server.Measured = lambda app: app  # type: ignore[assignment,misc]
        connect = mongo.AsyncMongoClient

        def without_listeners(uri: str, **options: object) -> object:
            return connect(uri, **options | {"event_listeners": []})  # type: ignore[arg-type]

        mongo.AsyncMongoClient = without_listeners  # type: ignore[assignment,misc]
    from earlybird.cli.services import serve as run_roles

    run_roles(*roles)  # type: ignore[arg-type]


async def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data") as servers:
            environment = environment_of(servers, Path(folder))
            await run("-m", "earlybird", "migrate", environment=environment)
            await measure_all(environment, rounds)


async def measure_all(environment: dict[str, str], rounds: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ports = iter(range(_PORT, _PORT + 100))

        async def each(role: str, **changes: str) -> list[Process]:
            return [
                await stack.enter_async_context(process(variant, role, next(ports), environment | changes))
                for variant in VARIANTS
            ]

        cheap = await each("identity", **CHEAP)
        environment["EARLYBIRD_JWKS_URL"] = f"http://127.0.0.1:{_PORT}/.well-known/jwks.json"
        tokens = await people_with_vouchers(environment, cheap[0].target, ports)
        logins = [post("/login", json.dumps(login(i)).encode()) for i in range(PEOPLE)]
        promotions = await each("promotions")
        reads = [get("/voucher", token) for token in tokens]
        for name, processes, requests, count in (
            ("GET /voucher, from the cache", promotions, reads, 240),
            ("POST /login, with next to no hash", cheap, logins, 32),
            ("POST /login", await each("identity"), logins, 8),
        ):
            await compare(name, processes, requests, count, rounds)


async def compare(name: str, processes: list[Process], requests: list[bytes], count: int, rounds: int) -> None:
    """Send so many requests to each process in each round, each time in another order."""
    used: list[list[float]] = [[] for _ in processes]
    for round_ in range(rounds + _WARM_UP):
        for number in ORDERS[round_ % len(ORDERS)]:
            process = processes[number]
            before = process.cpu_ns()
            await send(process.target, requests, count)
            if round_ >= _WARM_UP:
                used[number].append((process.cpu_ns() - before) / count / 1000)
    print(f"{name}: {statistics.median(used[0]):.1f} µs", flush=True)
    for variant, process, values in zip(VARIANTS[1:], processes[1:], used[1:], strict=True):
        ratios = [value / base - 1 for base, value in zip(used[0], values, strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        memory = process.memory_kib() - processes[0].memory_kib()
        print(
            f"  {variant}: {statistics.median(values):.1f} µs, {ratio:+.1%} (quartiles {low:+.1%} … {high:+.1%}); "
            f"memory {memory:+} KiB",
            flush=True,
        )


async def send(target: Target, requests: list[bytes], count: int) -> None:
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            status = await answer(target, requests[number % len(requests)])
            assert status == 200, status

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def login(i: int) -> dict[str, str]:
    return {"username": f"bench-{i}", "password": PASSWORD}


async def people_with_vouchers(environment: dict[str, str], identity: Target, ports: Iterator[int]) -> list[str]:
    """Register people, open a campaign, log them in, and wait until each has a voucher. Return their tokens."""
    async with connect_mongo(Settings(mongodb_uri=environment["EARLYBIRD_MONGODB_URI"]), "bench") as client:
        campaigns = CampaignStore(client["promotions"])
        draft = Campaign(uuid7(), "Launch", 30, PEOPLE, "30 % off", 30, None, None, None)
        await campaigns.create(draft, "bench")
        await campaigns.open(draft.id, "bench")
        for i in range(PEOPLE):
            person = login(i) | {"email": f"bench-{i}@example.com", "phone": f"+84912{i:06}", "full_name": "N"}
            body = json.dumps(person | {"birthday": "1990-12-10"}).encode()
            assert await answer(identity, post("/register", body)) == 200
        tokens = [await asyncio.to_thread(token_of, login(i)) for i in range(PEOPLE)]
        async with (
            asyncio.timeout(_START_SECONDS),
            process("with", "relay", next(ports), environment),
            process("with", "granter", next(ports), environment),
        ):
            while await client["promotions"]["vouchers"].count_documents({}) < PEOPLE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return tokens


def token_of(body: dict[str, str]) -> str:
    from urllib.request import Request

    request = Request(f"http://127.0.0.1:{_PORT}/login", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urlopen(request) as answered:
        token: str = json.load(answered)["token"]
        return token


@contextlib.asynccontextmanager
async def process(variant: str, role: str, port: int, environment: dict[str, str]) -> AsyncIterator[Process]:
    own = environment | {f"EARLYBIRD_{role.upper()}_PORT": str(port)}
    arguments = (sys.executable, __file__, "serve", variant, role)
    child = await asyncio.create_subprocess_exec(*arguments, env=own, stdout=asyncio.subprocess.DEVNULL)
    target = Target(port)
    try:
        async with asyncio.timeout(_START_SECONDS):
            while await answer(target, get("/readyz")) != 200:
                assert child.returncode is None, f"{role} ended"
                await asyncio.sleep(0.1)
        yield Process(child.pid, target)
    finally:
        target.close()
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


async def run(*arguments: str, environment: dict[str, str]) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    assert await child.wait() == 0


def environment_of(servers: Servers, folder: Path) -> dict[str, str]:
    return os.environ | {
        "EARLYBIRD_MONGODB_URI": servers.mongodb_uri,
        "EARLYBIRD_NATS_URL": servers.nats_url,
        "EARLYBIRD_VALKEY_URL": servers.valkey_url,
        "EARLYBIRD_SIGNING_KEY_FOLDER": str(folder / "signing-keys"),
        "EARLYBIRD_DRAIN_SECONDS": "0",
        "EARLYBIRD_PASSWORD_QUEUE_SECONDS": "5",  # nothing is refused, however slow the machine is just now
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        uvloop.run(main(int((sys.argv[1:] or ["90"])[0])))
