"""The cluster under test: 3 mongod, 3 nats-server, Valkey, Envoy, two of each role; a proxy before every server
where ways are to be cut.

Built from the local stack's own parts; nothing is restarted here unless a fault says so.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from sys import executable
from typing import Literal
from unittest import mock

import nats
import nats.errors
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from nats.js.api import ClusterInfo
from pymongo.errors import PyMongoError

from earlybird.events import STREAM
from earlybird.identity.app import migrate_identity
from earlybird.identity.sessions import signing_keys
from earlybird.infra.mongo import Client, Document, connect_mongo
from earlybird.promotions.app import migrate_promotions
from earlybird.settings import Settings
from earlybird.stack import StackError
from earlybird.stack.balancer import balancer
from earlybird.stack.child import Child, Program
from earlybird.stack.data_dir import claim, furnish
from earlybird.stack.permissions import Secrets
from earlybird.stack.ports import PORTS_FILE, Ports
from earlybird.stack.readiness import port_opens
from earlybird.stack.roles import HTTP_ROLES, role, role_environment
from earlybird.stack.servers import Servers
from faults import mutants, network

WORKERS = ("relay-1", "relay-2", "granter-1", "granter-2")
ROLES = (*HTTP_ROLES, *WORKERS)
MEMBERS: Literal[3] = 3
_PATIENCE_SECONDS = 60  # a machine with much else to do


@dataclass(frozen=True)
class ClusterOptions:
    """What a cell may need to be otherwise."""

    oplog_mb: int = 256
    checkpoint_seconds: int = 60
    is_proxied: bool = False  # put a proxy before every server, so that ways can be cut
    mutant: str = ""  # how the roles are broken
    disk_mb: int = 0  # give each mongod and NATS server a file system (tmpfs) of its own of this size; needs root


class Cluster:
    """Every process by its name, and clients of our own that no fault cuts off."""

    def __init__(self, children: Mapping[str, Child], servers: Servers, root: Path, control_port: int) -> None:
        self.children = dict(children)
        self.servers = servers
        self.root = root
        self._control_port = control_port
        self._own_programs = {name: child.program for name, child in children.items()}
        self.settings = Settings(
            mongodb_uri=servers.mongodb_uri, nats_url=servers.nats_url, valkey_url=servers.valkey_url
        )
        self.url = f"http://127.0.0.1:{children['envoy'].program.port}"
        self.people = 0  # who ever came, so that no two have a name in common
        self.mended_at = 0.0  # when the last process was started, in time.monotonic's seconds
        self.mongo: Client
        self.broker: NatsClient

    @property
    def jetstream(self) -> JetStreamContext:
        return self.broker.jetstream(timeout=2)

    def names(self, kind: str) -> list[str]:
        """Give the names of all processes of a kind, such as `relay`."""
        return [name for name in self.children if name.rpartition("-")[0] == kind or name == kind]

    async def start(self) -> None:
        await self.children["network"].start()
        servers = [child.start() for child in self.servers.children]
        await asyncio.gather(*servers, self.servers.form_replica_set())
        await migrate_identity(self.settings)
        await migrate_promotions(self.settings)
        await asyncio.gather(*(self.children[name].start() for name in ("envoy", *ROLES)))

    async def stop(self) -> None:
        for name in self.children:
            self.children[name].send(signal.SIGCONT)
        for kind in (["envoy"], HTTP_ROLES, WORKERS):
            await asyncio.gather(*(self.children[name].kill() for name in kind))
        await asyncio.gather(*(child.kill() for child in self.servers.children))
        await self.children["network"].kill()

    async def restart(self, name: str, **environment: str) -> None:
        """Stop a process as an operator would, and start it again, with these variables until the next time."""
        await self.children[name].stop()
        await self.begin(name, **environment)

    async def begin(self, name: str, **environment: str) -> None:
        """Start a process that does not run, and wait until it is ready, for as long as a start may take.

        If it dies, or never gets ready, then all is not done in time: that is for the run's judgement to say.
        """
        child, own = self.children[name], self._own_programs[name]
        child.program = replace(own, environment={**own.environment, **environment})
        self.mended_at = time.monotonic()
        with suppress(StackError):
            await child.start()

    async def cut(self, ways: Iterable[tuple[str, str]]) -> int:
        """Hold what is sent along these ways (from, to), let everything else go; give the bytes held until now."""
        return await self._order({"cut": list(ways)})

    async def drop(self, targets: Iterable[str]) -> None:
        """Abort all connections to these servers."""
        await self._order({"drop": list(targets)})

    async def _order(self, order: dict[str, object]) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._control_port)
        writer.write(json.dumps(order).encode() + b"\n")
        answer = await reader.readline()
        writer.close()
        return int(answer)

    async def mongod(self, *, primary: bool) -> list[str]:
        """Give the name of the one primary, or those of the secondaries; waits until there are such."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                answers = {name: await self._is_primary(name) for name in self.names("mongod")}
                found = [name for name, answer in answers.items() if answer is primary]
                if found and (len(found) == 1 or not primary):
                    return found

    async def hello(self, name: str) -> Document:
        """Ask a mongod what it is; waits until it answers."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                with suppress(PyMongoError):
                    async with self.servers.mongod_client(name) as client:
                        return await client.admin.command("hello")
                await asyncio.sleep(0.1)

    async def _is_primary(self, name: str) -> bool | None:
        """Say whether a mongod is primary or secondary; None if it does not answer or is neither."""
        try:
            async with self.servers.mongod_client(name) as client:
                hello = await client.admin.command("hello")
        except PyMongoError:
            await asyncio.sleep(0.1)
            return None
        return bool(hello["isWritablePrimary"]) if hello["isWritablePrimary"] or hello["secondary"] else None

    async def make_primary(self, name: str) -> None:
        """Have a mongod be elected; it may have to catch up first."""
        async with asyncio.timeout(_PATIENCE_SECONDS), self.servers.mongod_client(name) as client:
            while await self._is_primary(name) is not True:
                with suppress(PyMongoError):
                    await client.admin.command("replSetStepUp")

    async def make_leader(self, name: str) -> None:
        """Have a NATS server lead the stream of first logins."""
        request = json.dumps({"placement": {"preferred": name}}).encode()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while await self.stream_leader() != name:
                await self.broker.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", request, timeout=5)
                await asyncio.sleep(0.25)

    async def stream_leader(self) -> str:
        """Give the name of the server that leads the stream of first logins."""
        return str((await self._stream_cluster()).leader)

    async def replicas_behind(self) -> list[str]:
        """Give the NATS servers whose copy of the stream of first logins is not up to date, as its leader says."""
        replicas = (await self._stream_cluster()).replicas or ()
        return [peer.name for peer in replicas if peer.name and not peer.current]

    async def _stream_cluster(self) -> ClusterInfo:
        """Ask who keeps the stream of first logins; waits until it is led."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                with suppress(nats.errors.Error):
                    info = await self.jetstream.stream_info(STREAM)
                    if info.cluster is not None and info.cluster.leader:
                        return info.cluster
                await asyncio.sleep(0.1)

    async def settled(self) -> None:
        """Wait until every role is ready; for a run to begin with a whole system."""
        await asyncio.gather(*(self.children[name].program.until_ready() for name in self.children))


@asynccontextmanager
async def running_cluster(folder: Path, options: ClusterOptions) -> AsyncIterator[Cluster]:
    """Run a cluster with its data in this folder, and leave no process behind."""
    with claim(folder) as root, Ports(root / PORTS_FILE) as ports:
        furnish(root, MEMBERS, fresh=False)
        cluster = await _build(root, options, ports)
        try:
            if options.disk_mb:
                await _mount(cluster, options.disk_mb)
            await cluster.start()
            async with connect_mongo(cluster.settings, "observer") as cluster.mongo:
                cluster.broker = await nats.connect(
                    cluster.servers.nats_url.split(","),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.1,
                    error_cb=_ignore,
                )
                try:
                    yield cluster
                finally:
                    await cluster.broker.close()
        finally:
            await cluster.stop()
            if options.disk_mb:
                await _unmount(cluster)


async def _mount(cluster: Cluster, size_mb: int) -> None:
    """Give each server that keeps data a small file system of its own."""
    for name in cluster.names("mongod") + cluster.names("nats"):
        folder = cluster.root / name
        folder.mkdir(exist_ok=True)
        await _run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder))


async def _unmount(cluster: Cluster) -> None:
    for name in cluster.names("mongod") + cluster.names("nats"):
        if (cluster.root / name).is_mount():
            await _run("umount", str(cluster.root / name))


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise StackError(f"{command[0]} failed: cells with a full disk need root")


async def _build(root: Path, options: ClusterOptions, all_ports: Ports) -> Cluster:
    servers = await Servers.of(root, MEMBERS, all_ports, test_commands=True)
    public = {child.name: child.program.port for child in servers.children}
    proxied = [*public, *HTTP_ROLES, *(f"nats-{n}-cluster" for n in range(1, MEMBERS + 1))]
    proxied = proxied if options.is_proxied else []  # the proxies take a part of the machine
    names = [*ROLES, "envoy", "control", *(f"own {name}" for name in proxied)]
    ports = await all_ports.assign(names)
    remembered = json.loads((root / PORTS_FILE).read_text())
    links = [(name.removesuffix("-cluster"), remembered[name], remembered[f"own {name}"]) for name in proxied]
    moved = {str(remembered[name]): str(remembered[f"own {name}"]) for name in proxied}

    def named(program: Program) -> Program:
        name = f"{program.name}@{ports['control']}"
        return replace(program, environment={**program.environment, network.NAME_VARIABLE: name})

    programs = [named(_behind(child.program, moved, options)) for child in servers.children]
    for number in range(1, MEMBERS + 1) if proxied else ():
        _move_nats(root / f"nats-{number}.conf", remembered, number)
    children = {program.name: Child(program, root / "logs") for program in programs}
    servers = Servers(dict(children), MEMBERS, Secrets(root))

    _furnish_key(root / "signing-keys")
    quick = {
        "EARLYBIRD_PASSWORD_MEMORY_KIB": "8",
        "EARLYBIRD_PASSWORD_ITERATIONS": "1",
        "EARLYBIRD_JWKS_COOLDOWN_SECONDS": "1",
    }
    for name in ROLES:
        environment = role_environment(servers, root, ports["envoy"], name.partition("-")[0]) | quick
        program = _broken(role(name, ports[name], environment, root / "logs").program, options.mutant)
        children[name] = Child(named(_behind(program, moved, options)), root / "logs")
    upstreams = [[children[name] for name in HTTP_ROLES if name.startswith(kind)] for kind in ("ident", "promo")]
    front = balancer(root, ports["envoy"], *upstreams)
    children["envoy"] = Child(named(front), root / "logs")
    children["network"] = Child(_network(root, links, ports["control"]), root / "logs")
    return Cluster(children, servers, root, ports["control"])


def _broken(program: Program, mutant: str) -> Program:
    words = program.command[program.command.index("serve") :]
    return replace(program, command=[executable, "-P", mutants.__file__, mutant, *words]) if mutant else program


def _furnish_key(folder: Path) -> None:
    """Sign with a short key: the clients share the machine, and the usual one costs four times as much."""
    with mock.patch.object(signing_keys, "_RSA_BITS", 2048):
        signing_keys.KeyFolder(folder, None)


def _behind(program: Program, moved: Mapping[str, str], options: ClusterOptions) -> Program:
    """Have a program listen at a port of its own; everybody goes on to address it at the proxy's."""
    command = [moved.get(word, word) for word in program.command]
    if "--oplogSize" in command:
        command[command.index("--oplogSize") + 1] = str(options.oplog_mb)
        command += ["--syncdelay", str(options.checkpoint_seconds)]
    environment = {
        name: moved.get(value, value) if name.endswith("_PORT") else value
        for name, value in program.environment.items()
    }
    return replace(program, command=command, environment=environment)


def _move_nats(file: Path, ports: Mapping[str, int], number: int) -> None:
    """Have a NATS server listen at its own ports, and tell the others of the proxy's."""
    name = f"nats-{number}"
    config = json.loads(file.read_text())
    config["listen"] = f"127.0.0.1:{ports[f'own {name}']}"
    config["client_advertise"] = f"127.0.0.1:{ports[name]}"
    config["cluster"]["listen"] = f"127.0.0.1:{ports[f'own {name}-cluster']}"
    config["cluster"]["advertise"] = f"127.0.0.1:{ports[f'{name}-cluster']}"
    file.write_text(json.dumps(config, indent=2))


def _network(root: Path, links: list[tuple[str, int, int]], control_port: int) -> Program:
    description = root / "network.json"
    description.write_text(json.dumps({"links": links, "control_port": control_port}))
    command = [executable, network.__file__, str(description)]
    return Program("network", command, control_port, {}, partial(port_opens, control_port))


async def _ignore(_: Exception) -> None:
    """The observer's connection is made again by itself."""
