"""What `earlybird deploy files` makes, with the variables of `deploy/compose.yaml`, on real servers: people win.

The names and paths of containers become those of this machine, and nothing else changes. Valkey is behind a TLS
terminator, because the wheel's server is built without TLS.
"""

import asyncio
import json
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from people import registration
from server_processes import process, tls_in_front, until_listening

from earlybird.infra.mongo import connect_mongo
from earlybird.promotions.app import open_first_campaign
from earlybird.settings import Settings
from earlybird.stack import binaries
from earlybird.stack.libraries import mongod_environment
from earlybird.stack.permissions import Secrets
from earlybird.stack.production import (
    HTTPS_PORT,
    INSIDE_PORT,
    MOUNTED,
    envoy_options,
    prepare_mongodb,
    write_files,
)
from free_ports import free_port

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text())
ROLES = ("identity", "promotions", "relay", "granter", "pages")
MEMBERS = range(3)


@dataclass
class Machine:
    """Where on this machine the parts of the deployment are: their folder, and a port for each address."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)

    def port(self, address: str) -> int:
        """Return the port that stands for `host:port` of the network of containers."""
        return self.ports.setdefault(address, free_port())

    def here(self, text: str, part: str) -> str:
        """Write the addresses and paths of a part's own files as they are on this machine."""
        address = re.compile(r"\b((?:mongodb|nats)-\d\.\w+|valkey|identity-balanced|balancer-inside):(\d+)")
        own = {"identity-balanced": "identity", "balancer-inside": "balancer"}
        text = address.sub(
            lambda found: f"localhost:{self.port(f'{own.get(found[1], found[1])}:{found[2]}')}", text
        )
        return text.replace(str(MOUNTED), str(self.folder / part))

    def adapt(self) -> None:
        """Do so in every file that was made."""
        for file in self.folder.glob("*/*"):
            if file.suffix in {".conf", ""} and file.parent.name not in {"keys", "signing-keys"} | {"courier"}:
                file.write_text(self.here(file.read_text(), file.parent.name))

    def variables(self, service: str) -> dict[str, str]:
        """Return the environment that compose gives a service."""
        given = COMPOSE["services"][service].get("environment", {})
        [mounted] = re.findall(r"made\}/(\w+):/run/earlybird", " ".join(COMPOSE["services"][service]["volumes"]))
        found = {
            name: self.here(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)), mounted)
            for name, value in given.items()
        }
        port = (
            {f"EARLYBIRD_{service.upper()}_PORT": str(self.port(f"{service}:{PORTS[service]}"))}
            if service in PORTS
            else {}
        )
        keys = {"EARLYBIRD_SIGNING_KEY_FOLDER": str(self.folder / "keys")} if service == "identity" else {}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EARLYBIRD_")}
        return {**clean, **found, **port, **keys, "EARLYBIRD_HOST": "0.0.0.0", "EARLYBIRD_DRAIN_SECONDS": "0"}  # noqa: S104


PORTS = {role: Settings.model_fields[f"{role}_port"].default for role in ROLES}


@asynccontextmanager
async def mongods(machine: Machine) -> AsyncIterator[None]:
    """Run MongoDB's members on their configuration, and prepare them as `earlybird deploy mongodb` does."""
    mongod, folder = binaries.find_mongod(), machine.folder / "mongodb"
    libraries = await mongod_environment(mongod, machine.folder / "libraries")
    async with AsyncExitStack() as running:
        members = []
        for number in MEMBERS:
            port = machine.port(f"mongodb-{number}.mongodb:27017")
            options = json.loads((folder / "mongod.conf").read_text())
            options["net"] |= {"port": port, "unixDomainSocket": {"enabled": False}}
            options["storage"] = {"dbPath": str(machine.folder / f"data-{number}"), "wiredTiger": CACHE}
            options["setParameter"] |= {"shutdownTimeoutMillisForSignaledShutdown": 100}
            Path(options["storage"]["dbPath"]).mkdir()
            (folder / f"{number}.conf").write_text(json.dumps(options))
            await running.enter_async_context(
                process(mongod, "--config", folder / f"{number}.conf", environment=dict(libraries) or None)
            )
            members.append(f"localhost:{port}")
        secrets = Secrets(machine.folder / "operator")
        for _ in ("at first", "again"):
            await prepare_mongodb(secrets, members, folder / "tls.pem", folder / "ca.pem")
        yield


CACHE = {"engineConfig": {"cacheSizeGB": 0.25}}


@asynccontextmanager
async def nats_servers(machine: Machine) -> AsyncIterator[None]:
    """Run the NATS servers on their configuration."""
    async with AsyncExitStack() as running:
        for number in MEMBERS:
            options = json.loads((machine.folder / "nats" / "nats.conf").read_text())
            options["listen"] = f"127.0.0.1:{machine.port(f'nats-{number}.nats:4222')}"
            options["cluster"]["listen"] = f"127.0.0.1:{machine.port(f'nats-{number}.nats:6222')}"
            options["http"] = f"127.0.0.1:{free_port()}"
            options["jetstream"]["store_dir"] = str(machine.folder / f"nats-{number}")
            file = machine.folder / "nats" / f"{number}.conf"
            file.write_text(json.dumps(options))
            command = (binaries.find_nats_server(), "-c", file, "--name", f"nats-{number}")
            await running.enter_async_context(process(*command))
        yield


@asynccontextmanager
async def valkey(machine: Machine) -> AsyncIterator[None]:
    """Run Valkey on its configuration without the lines of TLS, and TLS with its certificate in front of it."""
    folder, port = machine.folder / "valkey", free_port()
    lines = (folder / "valkey.conf").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("tls-", "port "))]
    (folder / "plain.conf").write_text("\n".join([*kept, f"port {port}", "bind 127.0.0.1"]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.pem")
    async with process(binaries.find_valkey_server(), folder / "plain.conf"):
        await until_listening(port)
        async with tls_in_front(port, context, machine.port("valkey:6379")):
            yield


@asynccontextmanager
async def envoy(machine: Machine) -> AsyncIterator[None]:
    """Run the balancer on the routes of the deployment."""
    options = json.dumps(envoy_options(Settings(), 64, 0)).replace(str(MOUNTED), str(machine.folder / "balancer"))
    for role, port in PORTS.items():
        told = json.dumps({"address": role, "port_value": port})
        options = options.replace(
            told, json.dumps({"address": "localhost", "port_value": machine.port(f"{role}:{port}")})
        )
    for port in (HTTPS_PORT, INSIDE_PORT):
        options = options.replace(f'"port_value": {port}', f'"port_value": {machine.port(f"balancer:{port}")}')
    file = machine.folder / "envoy.json"
    file.write_text(options)
    quiet = ("--log-level", "error", "--disable-hot-restart", "--concurrency", "1")
    async with process(binaries.find_envoy(), "--config-path", file, *quiet):
        yield


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Machine]:
    """Run all of it."""
    write_files(folder, ["localhost"])
    machine = Machine(folder)
    machine.adapt()
    async with AsyncExitStack() as running:
        for server in (nats_servers, valkey, mongods):
            await running.enter_async_context(server(machine))
        await earlybird(machine.variables("migrate"), "migrate")
        for role in ROLES:
            command = (sys.executable, "-m", "earlybird", "serve", role)
            await running.enter_async_context(process(*command, environment=machine.variables(role)))
        await running.enter_async_context(envoy(machine))
        yield machine


async def earlybird(variables: dict[str, str], *words: str) -> str:
    """Run a command to its end; return what it prints."""
    out, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    command = (sys.executable, "-m", "earlybird", *words)
    running = await asyncio.create_subprocess_exec(*command, env=variables, stdout=out, stderr=both)
    said = (await running.communicate())[0].decode()
    assert running.returncode == 0, said
    return said


async def until_answered(http: httpx2.AsyncClient, path: str, **options: Any) -> httpx2.Response:
    """Ask until the answer is 200: a part may still be starting, or a voucher on its way."""
    answer = None
    while answer is None or answer.status_code != 200:
        try:
            answer = await http.get(path, **options)
        except httpx2.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code != 200:
            await asyncio.sleep(0.05)
    return answer


@pytest.mark.slow
async def test_people_log_in_and_win_on_what_is_made_for_containers(tmp_path: Path) -> None:
    async with asyncio.timeout(110), deployed(tmp_path / "made") as machine:
        operator = machine.variables("operator")
        trust = ssl.create_default_context(cafile=machine.folder / "ca.pem")
        uri = (machine.folder / "operator" / "EARLYBIRD_MONGODB_URI").read_text()
        await open_first_campaign(Settings(mongodb_uri=uri))
        async with httpx2.AsyncClient(verify=trust, base_url=machine_url(machine), timeout=10) as http:
            await until_answered(http, "/.well-known/jwks.json")
            person = registration(1)
            assert (await http.post("/register", json=person)).json() == {"status": "success"}
            login = {"username": person["username"], "password": person["password"]}
            token = (await http.post("/login", json=login)).json()["token"]
            won = await until_answered(http, "/voucher", headers={"Authorization": f"Bearer {token}"})
            assert won.json()["voucher"]["discount"] == 30
            home = await until_answered(http, "/")
            assert "<html" in home.text, "the pages reach the API by the inside listener"
        assert "Audit passed" in await earlybird(operator, "audit")
        async with connect_mongo(Settings(mongodb_uri=uri), "test") as client:
            status = await client.admin.command("replSetGetStatus")
        assert sorted(member["stateStr"] for member in status["members"]) == ["PRIMARY", "SECONDARY", "SECONDARY"]


def machine_url(machine: Machine) -> str:
    return f"https://localhost:{machine.port(f'balancer:{HTTPS_PORT}')}"
