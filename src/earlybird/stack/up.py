"""`earlybird up`: start everything in order, keep it running until Ctrl-C, leave nothing behind."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape

from earlybird.infra.processes import cancel_until_done
from earlybird.stack import StackError, binaries
from earlybird.stack.balancer import IN_FLIGHT_PER_SLOT, balancer
from earlybird.stack.child import READY_SECONDS, Child, Program
from earlybird.stack.data_dir import claim, furnish
from earlybird.stack.forking import forked, start_fork_server
from earlybird.stack.permissions import OPERATOR
from earlybird.stack.ports import PORTS_FILE, Ports, require_free
from earlybird.stack.readiness import http_answers
from earlybird.stack.roles import (
    HTTP_ROLES,
    JWKS_PATH,
    PAGES,
    WEBHOOK_NETWORKS,
    WORKERS,
    Verification,
    mailbox,
    pages_environment,
    password_slots,
    role,
    role_environment,
    watching,
)
from earlybird.stack.routing import Tls
from earlybird.stack.servers import Members, Servers
from earlybird.stack.status import Progress, StackFile
from earlybird.stack.stop_signals import StopSignals
from earlybird.stack.supervisor import Supervisor, all_at_once

Announce = Callable[[str], None]


@dataclass(frozen=True)
class UpOptions:
    """What the person may choose; port 0 is any free one."""

    port: int = 8080
    data_dir: Path = Path(".earlybird")
    members: Members = 1
    fresh: bool = False
    trusted_proxies: int = 0
    tls: Tls | None = None
    verify: str = "nothing"


@dataclass(frozen=True)
class Modules:
    """Modules that the fork server and its forks run, by name. `up` does not import them, so it starts sooner."""

    imported_once: str  # imports all that the roles need
    first_schema: str  # brings the schema up to date, as `python -m` would run it


async def up(options: UpOptions, modules: Modules, announce: Announce) -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; return the exit code.

    `announce` is called with the address when all is ready. 0 after a stop that was asked for (the first
    signal stops in order, a second kills at once), 1 with one line on standard error when the stack cannot run.
    """
    console = Console()
    try:
        with claim(options.data_dir) as root, Ports(root / PORTS_FILE) as ports, StopSignals() as signals:
            if options.port:
                require_free(options.port)
            if options.tls:
                require_free(options.tls.port)
            furnish(root, options.members, fresh=options.fresh)
            progress = Progress(console)
            stack = await Stack.of(root, options, ports, progress)
            signals.insisted = stack.kill
            await _until_asked(signals, stack, stack.live(modules, announce), progress)
            progress.say(f"Everything is stopped. The data stay in {options.data_dir}.")
    except StackError as error:
        Console(stderr=True).print(f"[red]earlybird:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 1
    return 0


async def _until_asked(
    signals: StopSignals, stack: "Stack", life: Coroutine[object, object, None], progress: Progress
) -> None:
    living = asyncio.create_task(life)
    asked = asyncio.create_task(signals.asked.wait())
    try:
        await asyncio.wait({living, asked}, return_when=asyncio.FIRST_COMPLETED)
        if signals.asked.is_set():
            progress.say("\nStopping everything, in order.")
    finally:
        await cancel_until_done((living, asked))
        await stack.stop()
    if not living.cancelled():
        living.result()


class Stack:
    """The servers, the roles and the balancer of one data folder, as one thing that lives and stops."""

    def __init__(
        self,
        root: Path,
        options: UpOptions,
        port: int,
        servers: Servers,
        role_ports: dict[str, int],
        verification: Verification,
        progress: Progress,
    ) -> None:
        """Build every child; start none."""
        self._root = root
        self._progress = progress
        self._url = f"http://127.0.0.1:{port}"
        self._servers = servers
        inside = role_ports.pop("inside")
        self._environment = role_environment(servers, root, port, OPERATOR, verification)
        self._roles = {
            name: role(
                name,
                own,
                pages_environment(inside, role_ports)
                if name == PAGES
                else role_environment(servers, root, port, name.partition("-")[0], verification)
                | watching(role_ports),
                root / "logs",
                forked,
            )
            for name, own in role_ports.items()
        }
        self._mailboxes = [mailbox(root, verification, servers.sms_secret)] if verification.is_on else []
        self._http_roles = [self._roles[name] for name in (*HTTP_ROLES, PAGES)]
        self._workers = [child for name, child in self._roles.items() if name not in (*HTTP_ROLES, PAGES)]
        identity, promotions = self._named("identity"), self._named("promotions")
        in_flight = IN_FLIGHT_PER_SLOT * password_slots()
        front = balancer(
            root,
            port,
            identity,
            promotions,
            in_flight=in_flight,
            trusted_proxies=options.trusted_proxies,
            tls=options.tls,
            pages=self._named(PAGES),
            inside=inside,
        )
        self._balancer = Child(front, root / "logs")
        addresses = {
            "url": self._url,
            "mongodb_uri": servers.mongodb_uri,
            "nats_url": servers.nats_url,
            "valkey_url": servers.valkey_url,
            "verify": verification.verify,
            "webhook_key": servers.webhook_key,
            "webhook_networks": WEBHOOK_NETWORKS,
        }
        self._children = [*servers.children, self._balancer, *self._roles.values(), *self._mailboxes]
        self._file = StackFile(root / "stack.json", addresses, self._children)
        self._supervisor = Supervisor(progress.say, self._file.refresh)

    @classmethod
    async def of(cls, root: Path, options: UpOptions, ports: Ports, progress: Progress) -> Self:
        """Find programs and ports, write the configuration; start nothing. Raises StackError."""
        if options.verify != "nothing":
            binaries.require_mail_server()
        servers = await Servers.of(root, options.members, ports, avoid_port=options.port)
        names = [
            *HTTP_ROLES,
            *WORKERS,
            PAGES,
            "inside",
            *(["courier", "smtp", "sms"] if options.verify != "nothing" else []),
        ]
        role_ports = await ports.assign([*names, "envoy"], options.port)
        any_port = role_ports.pop("envoy")
        verification = Verification(options.verify, role_ports.pop("smtp", 0), role_ports.pop("sms", 0))
        port = options.port or any_port
        return cls(root, options, port, servers, role_ports, verification, progress)

    async def live(self, modules: Modules, announce: Announce) -> None:
        """Start everything, then keep it running until cancelled. Raises StackError if it does not start."""
        try:
            await self._start(modules)
        finally:
            self._progress.end()
        self._file.publish()
        self._progress.say(f"Everything runs after {self._progress.seconds:.1f} s.")
        announce(self._url)
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Stop everything in order, so that nobody loses what it still needs; remove stack.json."""
        with suppress(OSError):
            self._file.withdraw()
        kinds = [self._servers.kind(kind) for kind in ("valkey", "nats", "mongod")]
        await self._supervisor.stop([self._http_roles, [self._balancer], self._workers, self._mailboxes, *kinds])

    def kill(self) -> None:
        """Send every process SIGKILL at once."""
        self._supervisor.kill()

    async def _start(self, modules: Modules) -> None:
        """Start all at once: the roles wait for servers and schema by themselves, the balancer for the schema."""
        self._progress.begin(self._children)
        await all_at_once(*map(self._bring_up, self._servers.children), self._start_roles(modules))
        await self._reach_through_balancer()

    async def _start_roles(self, modules: Modules) -> None:
        await start_fork_server(modules.imported_once)
        roles = [*self._roles.values(), *self._mailboxes]
        await all_at_once(self._open(modules.first_schema), *map(self._bring_up, roles))

    async def _open(self, first_schema: str) -> None:
        await self._servers.form_replica_set()
        command = [sys.executable, "-m", first_schema]
        program = Program("schema", command, environment=self._environment)
        await Child(program, self._root / "logs", forked).run()
        self._progress.ready("schema", "in place")
        await self._bring_up(self._balancer)

    async def _bring_up(self, child: Child) -> None:
        await self._supervisor.start(child)
        self._progress.ready(child.name, f"127.0.0.1:{child.program.port}")

    async def _reach_through_balancer(self) -> None:
        address = self._url + JWKS_PATH
        try:
            async with asyncio.timeout(READY_SECONDS):
                await http_answers(address, 200)
        except TimeoutError:
            msg = f"{address} did not answer within {READY_SECONDS:.0f} s; Envoy's log: {self._balancer.log}"
            raise StackError(msg) from None

    def _named(self, kind: str) -> list[Child]:
        return [child for name, child in self._roles.items() if name.startswith(kind)]
