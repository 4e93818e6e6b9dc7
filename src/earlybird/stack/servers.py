"""MongoDB, NATS and Valkey as the stack runs them: their options, their addresses, their start and stop.

Everything listens on loopback alone. Not here: the balancer and the roles.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal, Self

from pymongo import AsyncMongoClient

from earlybird.stack import StackError, binaries
from earlybird.stack.child import READY_SECONDS, Child, Program
from earlybird.stack.data_dir import claim, furnish
from earlybird.stack.libraries import mongod_environment
from earlybird.stack.permissions import OPERATOR, Secrets, write_private
from earlybird.stack.ports import PORTS_FILE, Ports
from earlybird.stack.readiness import jetstream_answers, mongod_client, mongod_is_member, valkey_answers
from earlybird.stack.replica_set import NAME, form_replica_set
from earlybird.stack.supervisor import all_at_once

Members = Literal[1, 3]


class Servers:
    """The servers of one data folder: `members` mongods, as many NATS servers, one Valkey."""

    def __init__(self, children: Mapping[str, Child], members: int, secrets: Secrets) -> None:
        """Hold these children, by name; `of` finds out what they are."""
        self._secrets = secrets
        self._children = children
        self.members = members

    @classmethod
    async def of(
        cls, root: Path, members: Members, ports: Ports, *, test_commands: bool = False, avoid_port: int = 0
    ) -> Self:
        """Find programs and ports for the claimed data folder, and write the configuration; start nothing.

        `test_commands` lets mongod take `failCommand` and its like. Raises StackError when a program is missing.
        """
        numbers = range(1, members + 1)
        mongod = binaries.find_mongod()
        libraries = await mongod_environment(mongod, root / "libraries")
        names = ["valkey", *(f"mongod-{n}" for n in numbers)]
        names += [f"nats-{n}{use}" for n in numbers for use in ("", "-cluster", "-monitor")]
        assigned = await ports.assign(names, avoid_port)
        secrets = Secrets(root)
        programs = [_valkey(root, assigned["valkey"], secrets)]
        for number in numbers:
            programs.append(
                _mongod(root, number, assigned, mongod, libraries, secrets, test_commands=test_commands)
            )
            programs.append(_nats(root, number, assigned, members, secrets))
        return cls({program.name: Child(program, root / "logs") for program in programs}, members, secrets)

    @property
    def children(self) -> list[Child]:
        """Every server, as a child process."""
        return list(self._children.values())

    def process(self, name: str) -> Child:
        """Return one server by its name, such as `mongod-1`; it can be stopped, killed and started."""
        return self._children[name]

    def kind(self, name: str) -> list[Child]:
        """Return all the servers of one kind: `mongod`, `nats` or `valkey`."""
        return [child for child in self.children if child.name.rpartition("-")[0] == name or child.name == name]

    @property
    def sms_secret(self) -> str:
        """The secret that signs short messages on their way to the mailbox."""
        return self._secrets.sms_secret()

    @property
    def mongodb_uri(self) -> str:
        """The address of the replica set, for its operator."""
        return self.mongodb_uri_of(OPERATOR)

    def mongodb_uri_of(self, user: str) -> str:
        """Return the address of the replica set for one user."""
        addresses = ",".join(self._addresses("mongod"))
        return f"mongodb://{self._secrets.login(user)}@{addresses}/?replicaSet={NAME}&authSource=admin"

    def mongod_client(self, name: str) -> AsyncMongoClient[dict[str, object]]:
        """Return a client of one mongod, whatever its part in the replica set, for its operator."""
        return mongod_client(self.process(name).program.port, self._secrets.login(OPERATOR))

    @property
    def nats_url(self) -> str:
        """The addresses of the NATS servers, comma separated, for their operator."""
        return self.nats_url_of(OPERATOR)

    def nats_url_of(self, user: str) -> str:
        """Return the addresses of the NATS servers for one user."""
        return ",".join(f"nats://{self._secrets.login(user)}@{address}" for address in self._addresses("nats"))

    @property
    def valkey_url(self) -> str:
        """The address of Valkey, for its operator."""
        return self.valkey_url_of(OPERATOR)

    def valkey_url_of(self, user: str) -> str:
        """Return the address of Valkey for one user."""
        return f"redis://{self._secrets.login(user)}@{self._addresses('valkey')[0]}/0"

    @property
    def webhook_key(self) -> str:
        """The key from which the secrets of webhooks follow."""
        return self._secrets.webhook_key()

    async def form_replica_set(self) -> None:
        """Wait until the mongods are one replica set with a primary; to be awaited while they start."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                ports = [child.program.port for child in self.kind("mongod")]
                await form_replica_set(ports, self._secrets)
        except TimeoutError:
            log = self.process("mongod-1").log
            msg = f"MongoDB elected no primary within {READY_SECONDS:.0f} s; its log: {log}"
            raise StackError(msg) from None

    async def start(self) -> None:
        """Start them all at once, and wait until each truly answers."""
        await all_at_once(*(child.start() for child in self.children), self.form_replica_set())

    async def stop(self) -> None:
        """Stop them all; nothing if none runs."""
        for kind in ("valkey", "nats", "mongod"):
            await asyncio.gather(*(child.stop() for child in self.kind(kind)))

    def _addresses(self, kind: str) -> list[str]:
        return [f"127.0.0.1:{child.program.port}" for child in self.kind(kind)]


@asynccontextmanager
async def running_servers(
    data_dir: Path, members: Members = 1, *, test_commands: bool = False
) -> AsyncIterator[Servers]:
    """Run the servers alone, as `up` would, and stop them at the end. Nothing is restarted: that is the test's.

    In a pytest session fixture, use the session's event loop. Raises StackError when they cannot start.
    """
    with claim(data_dir) as root, Ports(root / PORTS_FILE) as ports:
        furnish(root, members, fresh=False)
        servers = await Servers.of(root, members, ports, test_commands=test_commands)
        try:
            await servers.start()
            yield servers
        finally:
            await servers.stop()


def _mongod(
    root: Path,
    number: int,
    ports: Mapping[str, int],
    mongod: Path,
    environment: Mapping[str, str],
    secrets: Secrets,
    *,
    test_commands: bool,
) -> Program:
    name = f"mongod-{number}"
    port = ports[name]
    folder = root / name
    folder.mkdir(exist_ok=True)
    options = f"--replSet {NAME} --bind_ip 127.0.0.1 --port {port} --nounixsocket --oplogSize 256"
    # With one member a linearizable read waits for the next flush of the journal, by default for up to 100 ms.
    options += " --wiredTigerCacheSizeGB 0.5 --journalCommitInterval 5 --quiet"
    # A fault of old releases lets anybody read memory by way of compressed messages (CVE-2025-14847).
    options += " --networkMessageCompressors disabled"
    parameters = {
        "diagnosticDataCollectionEnabled": "false",
        # At SIGTERM mongod would wait 15 s for others to take over; here the others are stopping too.
        "shutdownTimeoutMillisForSignaledShutdown": "100",
        # A worker that dies within a transaction leaves its locks behind, by default for 60 s; ours take 10 ms.
        "transactionLifetimeLimitSeconds": "3",
        **({"enableTestCommands": "1"} if test_commands else {}),
    }
    settings = [word for item in parameters.items() for word in ("--setParameter", "=".join(item))]
    files = ["--dbpath", str(folder), "--keyFile", str(secrets.key_file())]
    command = [str(mongod), *files, *options.split(), *settings]
    return Program(name, command, port, environment, partial(mongod_is_member, port))


def _nats(root: Path, number: int, ports: Mapping[str, int], members: int, secrets: Secrets) -> Program:
    name = f"nats-{number}"
    config: dict[str, object] = {
        "server_name": name,
        "listen": f"127.0.0.1:{ports[name]}",
        "http": f"127.0.0.1:{ports[f'{name}-monitor']}",
        "authorization": {"users": secrets.nats_users()},
        "jetstream": {"store_dir": str(root / name), "sync_interval": "always"},
    }
    if members > 1:
        others = [f"127.0.0.1:{ports[f'nats-{n}-cluster']}" for n in range(1, members + 1)]
        user, _, password = secrets.login("members").partition(":")
        listen = f"127.0.0.1:{ports[f'{name}-cluster']}"
        config["cluster"] = {
            "name": NAME,
            "listen": listen,
            "authorization": {"user": user, "password": password},
            "routes": [f"nats://{user}:{password}@{other}" for other in others],
        }
    file = root / f"{name}.conf"
    write_private(file, json.dumps(config, indent=2))  # NATS reads JSON as its own format
    until_ready = partial(
        jetstream_answers, f"nats://{secrets.login(OPERATOR)}@127.0.0.1:{ports[name]}", ports[f"{name}-monitor"]
    )
    return Program(name, [str(binaries.find_nats_server()), "-c", str(file)], ports[name], {}, until_ready)


def _valkey(root: Path, port: int, secrets: Secrets) -> Program:
    folder = root / "valkey"
    folder.mkdir(exist_ok=True)
    options = f"--bind 127.0.0.1 --port {port} --maxmemory 256mb --maxmemory-policy allkeys-lru --appendonly no"
    file = root / "valkey.conf"
    write_private(file, secrets.valkey_rules())
    command = [str(binaries.find_valkey_server()), str(file), *options.split(), "--save", "", "--dir", str(folder)]
    return Program(
        "valkey",
        command,
        port,
        {},
        partial(valkey_answers, f"redis://{secrets.login(OPERATOR)}@127.0.0.1:{port}/0"),
    )
