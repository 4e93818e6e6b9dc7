"""identity and promotions as real processes behind a real Envoy that trusts one proxy in front: the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from people import registration
from services import Ports, environment, serving, until_ready

from earlybird.settings import Settings
from earlybird.stack.balancer import balancer
from earlybird.stack.child import Child, Program
from free_ports import free_port

PASSWORD = "correct horse battery"


@dataclass
class Door:
    """The one address, as clients at different places see it."""

    http: httpx2.AsyncClient
    ports: Ports
    process: asyncio.subprocess.Process

    async def post(self, path: str, body: object = None, at: str | None = None, **headers: str) -> httpx2.Response:
        """Send from the address `at`, which the trusted proxy names."""
        sent = {"X-Forwarded-For": at} if at else {}
        return await self.http.post(path, json=body, headers=sent | headers)

    async def register(self, i: int, at: str | None = None) -> str:
        """Make an account; return its user name."""
        person = registration(i)
        answer = await self.post("/register", person, at)
        assert answer.status_code == 200, answer.text
        return str(person["username"])

    async def log_in(
        self, username: str, password: str = PASSWORD, at: str | None = None, cookie: str = "", **headers: str
    ) -> httpx2.Response:
        """Log in, on the device that has this cookie."""
        self.http.cookies.clear()
        headers |= {"Cookie": cookie} if cookie else {}
        return await self.post("/login", {"username": username, "password": password}, at, **headers)

    async def token(self, username: str, password: str = PASSWORD, **headers: str) -> str:
        """Log in; return the token."""
        answer = await self.log_in(username, password, **headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def ask(self, path: str, token: str, method: str = "GET", body: Any = None) -> httpx2.Response:
        """Send a request with a token."""
        return await self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})


def cookie_of(answer: httpx2.Response) -> str:
    """Return the cookie that a login has set, as a client sends it back."""
    return str(answer.headers["set-cookie"]).partition(";")[0]


async def until_followed(http: httpx2.AsyncClient, ports: Ports) -> None:
    """Wait until both services follow the feed of revocations."""
    async with asyncio.timeout(20):
        for port in (ports.identity, ports.promotions):
            while "degraded" in (await http.get(f"http://127.0.0.1:{port}/readyz")).json():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def front_door(settings: Settings, folder: Path, **changes: str) -> AsyncIterator[Door]:
    """Run the two services and Envoy."""
    ports, port = Ports(), free_port()
    children = [Child(Program(name, [], number), folder) for name, number in vars(ports).items()]
    envoy = Child(balancer(folder, port, children[:1], children[1:2], in_flight=200, trusted_proxies=1), folder)
    roles = serving(environment(settings, ports, **changes), "identity", "promotions")
    async with roles as process, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        await until_ready(http, ports.identity, ports.promotions)
        if "EARLYBIRD_NATS_URL" not in changes:
            await until_followed(http, ports)
        await envoy.start()
        try:
            yield Door(http, ports, process)
        finally:
            await envoy.stop()
