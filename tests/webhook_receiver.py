"""A receiver of webhooks: it keeps what comes, and answers as the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Arrived:
    """One delivery, as it came."""

    path: str
    headers: Mapping[str, str]
    body: str

    def is_signed_by(self, secret: str) -> bool:
        """Whether the library of Standard Webhooks, which is not ours, accepts it."""
        try:
            Webhook(secret).verify(self.body, dict(self.headers))
        except Exception:  # noqa: BLE001  # whatever it says
            return False
        return True


@dataclass
class Receiver:
    """What came, and what is answered: a status, with headers after it."""

    port: int = 0
    answer: Callable[[Arrived], str] = lambda _: "204 No Content"
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hooks"

    def ids(self) -> list[str]:
        """The ids of what came, in order."""
        return [one.headers["webhook-id"] for one in self.arrived]

    async def until(self, count: int) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(30):
            while len(self.arrived) < count:
                await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
                one = Arrived(first.split()[1], headers, body)
                said = self.answer(one)
                self.arrived.append(one)
                writer.write(f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Listen on a free port of this machine."""
    one = Receiver()
    server = await asyncio.start_server(one._serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one
        server.close()
