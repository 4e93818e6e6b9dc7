"""The laboratory of `make bench`: real servers, roles pinned to a core, people, and what each process uses.

Servers and the generator of load share one core; what is measured has the other to itself.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx2
import uvicorn
from fastapi import FastAPI
from open_loop import Target, answer, get
from stack import cpu_seconds
from uuid_utils.compat import uuid7

from earlybird.events import FirstLogin
from earlybird.identity.sessions.signer import TokenSigner
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.granting.store import GrantStore
from earlybird.settings import Settings
from earlybird.stack.servers import running_servers

PASSWORD = "correct horse battery"
CHEAP = {"EARLYBIRD_PASSWORD_MEMORY_KIB": "8", "EARLYBIRD_PASSWORD_ITERATIONS": "1"}
MEASURED_CORE, OTHER_CORE = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
_START_SECONDS = 60
_FIRST_PORT = 18600


@dataclass
class Process:
    """One process under measurement."""

    pid: int
    target: Target
    port: int

    def cpu_seconds(self) -> float:
        """Return what all its threads have used of a core so far."""
        return cpu_seconds(self.pid)


@dataclass
class Lab:
    """Servers that run, and the environment that points roles at them."""

    environment: dict[str, str]
    mongo: Client
    _ports: Iterable[int] = field(default_factory=lambda: iter(range(_FIRST_PORT, _FIRST_PORT + 1000)))

    @contextlib.asynccontextmanager
    async def role(
        self,
        *roles: str,
        core: int | None = MEASURED_CORE,
        command: str = "serve",
        tick_seconds: float = 0.1,
        **changes: str,
    ) -> AsyncIterator[Process]:
        """Run roles in one process, until the block ends. `core=None`: on all."""
        port = next(self._ports)  # type: ignore[call-overload]
        own = self.environment | {f"EARLYBIRD_{role.upper()}_PORT": str(next(self._ports)) for role in roles[1:]}  # type: ignore[call-overload]
        own |= changes | ({f"EARLYBIRD_{roles[0].upper()}_PORT": str(port)} if roles else {})
        arguments = (sys.executable, __file__, command, str(-1 if core is None else core), str(port), *roles)
        child = await asyncio.create_subprocess_exec(*arguments, env=own, stdout=asyncio.subprocess.DEVNULL)
        target = Target(port)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while await answer(target, get("/readyz")) != 200:
                    assert child.returncode is None, f"{roles} ended"
                    await asyncio.sleep(tick_seconds)
            yield Process(child.pid, target, port)
        finally:
            target.close()
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()

    async def open_campaign(self, vouchers: int) -> Campaign:
        """Open a campaign; one that is open is closed."""
        return await open_campaign(self.mongo, vouchers)

    async def winners(self, count: int, first: int = 1) -> list[str]:
        """Make people who hold a voucher each, without logging them in; return their tokens. Identity must run."""
        return await winners(self.mongo, Path(self.environment["EARLYBIRD_SIGNING_KEY_FOLDER"]), count, first)

    async def granted(self, count: int) -> None:
        """Wait until so many vouchers exist."""
        async with asyncio.timeout(_START_SECONDS):
            while await self.mongo["promotions"]["vouchers"].count_documents({}) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def open_campaign(mongo: Client, vouchers: int) -> Campaign:
    """Open a campaign; one that is open is closed."""
    campaigns = CampaignStore(mongo["promotions"])
    current = await campaigns.find_current()
    if current is not None:
        await campaigns.close(current.campaign.id, "bench")
    draft = Campaign(uuid7(), "Launch", 30, vouchers, "30 % off", 30, None, None, None)
    await campaigns.create(draft, "bench")
    await campaigns.open(draft.id, "bench")
    return draft


async def winners(mongo: Client, key_folder: Path, count: int, first: int = 1) -> list[str]:
    """Make people who hold a voucher each, without logging them in; return their tokens."""
    now, ids = datetime.now(UTC), [uuid7() for _ in range(count)]
    accounts = [account(i + first * 1_000_000, one, now) for i, one in enumerate(ids)]
    await mongo["identity"]["users"].insert_many(accounts, ordered=False)
    await open_campaign(mongo, count)
    store, later = GrantStore(mongo["promotions"]), datetime.now(UTC)
    for begin in range(0, count, 1000):
        cursor = await store.cursor()
        some = ids[begin : begin + 1000]
        await store.commit_awards(cursor, [FirstLogin(cursor + 1 + i, one, later) for i, one in enumerate(some)])
    signer = TokenSigner(KeyFolder(key_folder, None), "earlybird", "earlybird")
    return [signer.issue(one, ["customer"], now, str(one), 0) for one in ids]


def person(i: int, prefix: str = "bench") -> dict[str, str]:
    """Invent somebody: the body of POST /register."""
    return {
        "username": f"{prefix}-{i}",
        "email": f"{prefix}-{i}@example.com",
        "phone": f"+84{900_000_000 + i}",
        "password": PASSWORD,
        "full_name": "Grace Hopper",
        "birthday": "1990-12-10",
    }


def account(i: int, user_id: UUID, now: datetime, password_hash: str = "") -> dict[str, object]:
    """Return the document of an account that has never logged in."""
    return {
        **person(i),
        "_id": user_id,
        "password": password_hash,
        "birthday": now,
        "is_active": 1,
        "is_first_login": 1,
        "roles": ["customer"],
        "session_epoch": 0,
        "created_at": now,
        "updated_at": now,
    }


def login(i: int, prefix: str = "bench") -> dict[str, str]:
    """Return the body of POST /login."""
    return {"username": f"{prefix}-{i}", "password": PASSWORD}


async def tokens(port: int, count: int, prefix: str = "bench") -> list[str]:
    """Register and log in so many people, and return their tokens."""
    slots = asyncio.Semaphore(16)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:

        async def one(i: int) -> str:
            async with slots:
                answered = await http.post("/register", json=person(i, prefix))
                assert answered.status_code == 200, answered.text
                answered = await http.post("/login", json=login(i, prefix))
                assert answered.status_code == 200, answered.text
                token: str = answered.json()["token"]
                return token

        return list(await asyncio.gather(*map(one, range(count))))


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process, and what it starts, on one core until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.asynccontextmanager
async def laboratory(changes: Mapping[str, str] | None = None) -> AsyncIterator[Lab]:
    """Start one mongod, nats-server and Valkey, beside the generator of load, and migrate."""
    with tempfile.TemporaryDirectory() as folder, on_core(OTHER_CORE):  # which what is started inherits
        async with running_servers(Path(folder) / "data") as servers:
            environment = os.environ | {
                "EARLYBIRD_MONGODB_URI": servers.mongodb_uri,
                "EARLYBIRD_NATS_URL": servers.nats_url,
                "EARLYBIRD_VALKEY_URL": servers.valkey_url,
                "EARLYBIRD_SIGNING_KEY_FOLDER": str(Path(folder) / "signing-keys"),
                "EARLYBIRD_DRAIN_SECONDS": "0",
                "EARLYBIRD_LOG_LEVEL": "warning",
                "EARLYBIRD_PASSWORD_QUEUE_SECONDS": "60",  # nothing is refused, however slow the machine is
                **(changes or {}),
            }
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "earlybird", "migrate", env=environment, stdout=asyncio.subprocess.DEVNULL
            )
            assert await child.wait() == 0
            async with connect_mongo(Settings(mongodb_uri=servers.mongodb_uri), "bench") as client:  # type: ignore[arg-type]
                yield Lab(environment, client)


def point_at(environment: dict[str, str], identity_port: int) -> None:
    """Have promotions find identity there."""
    for name, path in (("JWKS", ".well-known/jwks.json"), ("ACCOUNT", "account"), ("RECEIPT", "receipt")):
        environment[f"EARLYBIRD_{name}_URL"] = f"http://127.0.0.1:{identity_port}/{path}"


def _serve_empty(port: int) -> None:
    """Be an empty FastAPI route, on the server and event loop of ours, with nothing else in the application."""
    app = FastAPI(
        openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    )

    @app.get("/empty")
    @app.get("/readyz")
    async def empty() -> dict[str, str]:
        return {"status": "success"}

    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )


def _main(command: str, core: int, port: int, *roles: str) -> None:
    os.sched_setaffinity(0, {core} if core >= 0 else {MEASURED_CORE, OTHER_CORE, *range(os.cpu_count() or 1)})
    if command == "empty":
        _serve_empty(port)
    else:
        if command == "measured":
            import telemetry

            telemetry.make_switchable()
        elif command == "traced":
            import tracing

            tracing.make_switchable()
        from earlybird.cli.services import serve

        serve(*roles)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
