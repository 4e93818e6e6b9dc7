"""The network between the parts: what is cut is held, and whether anything was held is known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from faults.network import Link, Network

SERVER, CALLER = "server", ""  # a caller that no cluster has named


@dataclass(frozen=True, slots=True)
class Behind:
    """A server that sends back what it is sent, behind a network."""

    network: Network
    port: int
    sent_back: asyncio.Queue[bytes]  # nothing, when a connection has ended

    def cut(self, *ways: tuple[str, str]) -> int:
        return self.network.obey({"cut": ways})


@pytest.fixture
async def echo() -> AsyncIterator[Behind]:
    sent_back: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):  # by a network with unread bytes
            while data := await reader.read(100):
                writer.write(data)
                await writer.drain()
                sent_back.put_nowait(data)
        writer.close()
        sent_back.put_nowait(b"")

    network = Network(control_port=0)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        link = Link(network, SERVER, server.sockets[0].getsockname()[1])
        network.links.append(link)
        async with await asyncio.get_running_loop().create_server(link.accept, "127.0.0.1", 0) as proxy:
            yield Behind(network, proxy.sockets[0].getsockname()[1], sent_back)


@pytest.mark.parametrize("way", [(CALLER, SERVER), (SERVER, CALLER)])
async def test_what_is_sent_along_a_way_that_is_cut_comes_when_it_is_whole_again(
    echo: Behind, way: tuple[str, str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"before ")
    assert await reader.readexactly(7) == b"before "
    echo.cut(way)
    writer.write(b"during")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.readexactly(1)
    assert echo.cut() == len("during")
    assert await reader.readexactly(6) == b"during"
    writer.close()


async def test_an_answer_counts_as_held_though_its_caller_has_given_up(echo: Behind) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"before")
    await reader.readexactly(6)
    await echo.sent_back.get()
    echo.cut((SERVER, CALLER))
    writer.write(b"during")
    assert await echo.sent_back.get() == b"during"
    writer.close()
    assert await echo.sent_back.get() == b""
    assert echo.cut() == len("during")
    assert echo.cut() == 0


async def test_nothing_is_held_when_nothing_was_sent(echo: Behind) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"before")
    await reader.readexactly(6)
    echo.cut((SERVER, CALLER), (CALLER, SERVER))
    assert echo.cut() == 0
    writer.close()
