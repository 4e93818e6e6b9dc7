"""The command line: wiring only."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from pydantic import ValidationError
from rich.console import Console

from earlybird.errors import Failure
from earlybird.settings import Settings

RoleName = Literal["identity", "promotions", "relay", "granter"]
_DATA_DIR = Path(".earlybird")
DataDir = Annotated[Path, Parameter(help="folder of the local stack")]

app = App(
    name="earlybird",
    version=lambda: version("earlybird"),
    help="The first N customers to log in during a campaign get a voucher: exactly N, in true order, provably.",
)


def main() -> None:
    """Run the command line; an expected failure is one line on standard error and exit status 1."""
    try:
        app()
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            _fail(f"EARLYBIRD_{name.upper()}: {problem['msg']}")
    except Failure as error:
        _fail(str(error))


def _fail(line: str) -> None:
    print(f"earlybird: {line}", file=sys.stderr)  # noqa: T201  # a command speaks on standard error
    raise SystemExit(1)


@app.command
def up(
    *,
    port: Annotated[int, Parameter(help="port of the one address, on loopback")] = 8080,
    data_dir: DataDir = _DATA_DIR,
    members: Annotated[Literal[1, 3], Parameter(help="mongod and nats-server: one of each, or three")] = 1,
    fresh: Annotated[bool, Parameter(negative="", help="drop the data of an earlier run first")] = False,
) -> int:
    """Start the whole system on this machine, with real servers, and keep it running until Ctrl-C."""
    from earlybird.stack.up import UpOptions
    from earlybird.stack.up import up as run_stack

    options = UpOptions(port=port, data_dir=data_dir, members=members, fresh=fresh)
    return asyncio.run(run_stack(options, prepare=_open_first_campaign, announce=partial(_announce, data_dir)))


@app.command
def serve(*roles: RoleName) -> None:
    """Run these roles in one process until SIGTERM: identity, promotions, relay, granter.

    They are configured by the environment; see docs/configuration.md.
    """
    from earlybird.identity.app import identity_role, relay_role
    from earlybird.infra.logs import configure_logs
    from earlybird.promotions.app import granter_role, promotions_role

    if not roles:
        raise Failure("name the roles to run, such as: earlybird serve identity promotions relay granter")
    build: Mapping[RoleName, Callable[[Settings], AbstractAsyncContextManager[Any]]] = {
        "identity": identity_role,
        "promotions": promotions_role,
        "relay": relay_role,
        "granter": granter_role,
    }
    settings = Settings()
    configure_logs(settings.log_level, "+".join(roles))
    _run(_serve([build[role](settings) for role in dict.fromkeys(roles)]))


async def _serve(roles: list[AbstractAsyncContextManager[Any]]) -> None:
    from earlybird.infra.roles import OpenedRole, RoleGroup

    running = asyncio.ensure_future(RoleGroup(*map(OpenedRole, roles)).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait({running})
    if not running.cancelled():
        running.result()


@app.command
def migrate() -> None:
    """Bring the databases' schema up to date; safe to repeat, run it before a new version starts."""
    from earlybird.identity.app import migrate_identity
    from earlybird.promotions.app import migrate_promotions

    async def run() -> None:
        settings = Settings()
        new = [*await migrate_identity(settings), *await migrate_promotions(settings)]
        Console().print("\n".join(f"applied {name}" for name in new) or "nothing to do")

    _run(run())


@app.command
def audit(
    *,
    data_dir: DataDir = _DATA_DIR,
    wait_seconds: Annotated[float, Parameter(help="time that first logins on their way get to arrive")] = 10,
) -> None:
    """Recompute who must hold which voucher and compare: print the proof, or the first difference (exit 1).

    Looks at the stack running in --data-dir, or at the deployment that EARLYBIRD_MONGODB_URI and
    EARLYBIRD_NATS_URL name.
    """
    _run(_audit(_deployment(data_dir), Console(highlight=False), wait_seconds))


@app.command
def demo(
    *,
    users: Annotated[int, Parameter(help="how many people to register and log in at once")] = 300,
    data_dir: DataDir = _DATA_DIR,
) -> None:
    """Register and log in many people at once against the running stack, show who won, and audit."""
    from earlybird.demo import Demo

    if not 1 <= users <= 1_000_000:
        raise Failure("--users must be between 1 and 1000000")
    settings, console = _stack_settings(data_dir), Console(highlight=False)

    async def run() -> None:
        from earlybird.infra.mongo import connect_mongo

        async with connect_mongo(settings, "demo") as client:
            await Demo(_read_stack(data_dir)["url"], client, console).run(users)
        await _audit(settings, console, 10)

    _run(run())


async def _audit(settings: Settings, console: Console, wait_seconds: float) -> None:
    from earlybird.audit import Audit, Proof
    from earlybird.infra.mongo import connect_mongo
    from earlybird.infra.nats import connect_nats

    def report(proof: Proof) -> None:
        console.print(f"  [green]✓[/] {proof.subject}: {proof.statement}", soft_wrap=True)

    async with (
        connect_mongo(settings, "audit") as client,
        connect_nats(settings, "audit", patience_seconds=10) as broker,
    ):
        await Audit(client, broker.jetstream(), wait_seconds=wait_seconds).run(report)
    console.print(
        "[green]Audit passed[/]: the vouchers are exactly what ledger and campaigns say.", soft_wrap=True
    )


async def _open_first_campaign(environment: Mapping[str, str]) -> None:
    """Open a campaign of 100 vouchers at 30 % if there was never one."""
    from earlybird.promotions.app import open_first_campaign

    await open_first_campaign(Settings(mongodb_uri=environment["EARLYBIRD_MONGODB_URI"]))


def _announce(data_dir: Path, url: str) -> None:
    register = {
        "username": "ada",
        "email": "ada@example.com",
        "phone": "+84912345678",
        "password": "correct horse battery",
        "full_name": "Ada Lovelace",
        "birthday": "1990-12-10",
    }
    login = {"username": "ada", "password": "correct horse battery"}
    send = "-H 'Content-Type: application/json' -d"
    needs_curl = "" if shutil.which("curl") else " (with curl, which is not installed here)"
    where = "" if data_dir == _DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    picking = """python3 -c 'import json,sys; print(json.load(sys.stdin)["token"])'"""
    print(  # noqa: T201  # to be copied, so unadorned
        f"""
earlybird is running at {url} (its API: {url}/docs). Try, in another terminal{needs_curl}:

curl -s {url}/register {send} '{json.dumps(register)}'
TOKEN=$(curl -s {url}/login {send} '{json.dumps(login)}' | {picking})
curl -s {url}/voucher -H "Authorization: Bearer $TOKEN"

Or 300 people at once:  .venv/bin/earlybird demo --users 300{where}
Stop with Ctrl-C.""",
        flush=True,
    )


def _deployment(data_dir: Path) -> Settings:
    return Settings() if "EARLYBIRD_MONGODB_URI" in os.environ else _stack_settings(data_dir)


def _stack_settings(data_dir: Path) -> Settings:
    stack = _read_stack(data_dir)
    return Settings(**{name: stack[name] for name in ("mongodb_uri", "nats_url", "valkey_url")})


def _read_stack(data_dir: Path) -> dict[str, Any]:
    try:
        stack: dict[str, Any] = json.loads((data_dir / "stack.json").read_text())
    except OSError:
        raise Failure(
            f"no stack is running in {data_dir}: start one with `make run`, or name another with --data-dir"
        ) from None
    return stack


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; a database or broker that does not answer is one line, not a traceback."""
    import nats.errors
    import uvloop
    from pymongo.errors import PyMongoError

    try:
        uvloop.run(work)
    except PyMongoError as error:
        if not error.timeout:
            raise
        raise Failure("MongoDB does not answer: is it running, and is EARLYBIRD_MONGODB_URI right?") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise Failure("NATS does not answer: is it running, and is EARLYBIRD_NATS_URL right?") from error
