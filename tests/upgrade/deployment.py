"""Two of every role behind the balancer, each of one version or the other, on one set of servers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from earlybird.stack.balancer import IN_FLIGHT_PER_SLOT, balancer
from earlybird.stack.child import Child
from earlybird.stack.permissions import OPERATOR
from earlybird.stack.roles import pages_environment, password_slots, role, role_environment
from earlybird.stack.servers import Servers, running_servers
from free_ports import free_port
from upgrade.versions import Version

# Whoever reads a thing is replaced before those who write it: granter, promotions, relay, identity, pages.
ROLES = tuple(f"{kind}-{n}" for kind in ("granter", "promotions", "relay", "identity", "pages") for n in (1, 2))
_MAKE_USERS = """
import asyncio, sys
from pathlib import Path
from earlybird.stack.permissions import Secrets
asyncio.run(Secrets(Path(sys.argv[1])).create_mongodb_users(int(sys.argv[2])))
"""


class Deployment:
    """The servers, the balancer, and the roles as they are now."""

    def __init__(self, root: Path, servers: Servers, first: Version) -> None:
        """Choose the ports; start nothing."""
        self._root, self._servers = root, servers
        self._ports = {name: free_port() for name in ROLES}
        self._port, self._inside = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.versions = dict.fromkeys(ROLES, first)
        self._roles = {name: self._role(name, first) for name in ROLES}
        self._balancer = Child(
            balancer(
                root,
                self._port,
                self._named("identity"),
                self._named("promotions"),
                in_flight=IN_FLIGHT_PER_SLOT * password_slots(),
                pages=self._named("pages"),
                inside=self._inside,
            ),
            root / "logs",
        )

    async def start(self) -> None:
        """Start the balancer, by which the roles find each other, and all roles."""
        await self._balancer.start()
        # The first of a kind makes what the second finds, such as a stream.
        for number in ("1", "2"):
            await asyncio.gather(*(child.start() for name, child in self._roles.items() if name.endswith(number)))

    async def replace(self, name: str, version: Version) -> None:
        """Stop this role and start it in this version; wait until it is ready."""
        await self._roles[name].stop()
        self._roles[name], self.versions[name] = self._role(name, version), version
        await self._roles[name].start()

    async def stop(self) -> None:
        """Stop the balancer and all roles."""
        await asyncio.gather(*(child.stop() for child in (self._balancer, *self._roles.values())))

    async def command(self, version: Version, *words: str) -> str:
        """Run a command of this version; it must succeed."""
        operator = role_environment(self._servers, self._root, self._port, OPERATOR)
        return await _run(version, operator, "-m", "earlybird", *words)

    async def grant(self, version: Version) -> None:
        """Give the MongoDB users what this version's roles need, and no more."""
        port = self._servers.process("mongod-1").program.port
        await _run(version, {}, "-c", _MAKE_USERS, str(self._root), str(port))

    def _named(self, kind: str) -> list[Child]:
        return [child for name, child in self._roles.items() if name.startswith(kind)]

    def _role(self, name: str, version: Version) -> Child:
        kind = name.partition("-")[0]
        environment = (
            pages_environment(self._inside, self._ports)
            if kind == "pages"
            else role_environment(self._servers, self._root, self._port, kind)
        )
        source = {"PYTHONPATH": str(version.source)}
        return role(name, self._ports[name], environment | source, self._root / "logs")


@asynccontextmanager
async def running_deployment(folder: Path, first: Version) -> AsyncIterator[Deployment]:
    """Run everything in this version, on empty databases; stop it at the end of the block."""
    async with running_servers(folder) as servers:
        deployment = Deployment(folder, servers, first)
        try:
            await deployment.grant(first)
            await deployment.command(first, "migrate")
            await deployment.start()
            yield deployment
        finally:
            await deployment.stop()


async def _run(version: Version, environment: dict[str, str], *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env=os.environ | environment | {"PYTHONPATH": str(version.source)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{version.name} {words}:\n{output.decode()}"
    return output.decode()
