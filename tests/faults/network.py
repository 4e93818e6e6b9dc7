"""The network between the parts, as a program of its own: a TCP proxy before each server, which can be cut.

A link carries bytes from one process to another. Cut in one direction, it holds what is sent that way and delivers
it once it is whole again, as TCP does when packets are lost. Who is at the other end of a connection is read from
/proc, by the variable FAULTS_NAME in its environment, and only while something is cut: not at each new connection,
but for all that come within some milliseconds, or a proxy that is busy with /proc would be a fault of its own.
"""

import asyncio
import fcntl
import json
import os
import sys
import termios
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import uvloop

NAME_VARIABLE = "FAULTS_NAME"  # its value: name@control port, so that other clusters are left alone
_LOOK_UP_SECONDS = 0.02


class Half(asyncio.Protocol):
    """One end of a proxied connection; what it reads, the other end writes, unless that way is closed."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.other: Half | None = None
        self.transport: asyncio.Transport | None = None
        self.unsent: list[bytes] = []
        self.is_cut = False  # what this end reads is held
        self.is_full = False  # the other end takes no more for now

    def both(self) -> "list[Half]":
        """Give this end, and the other if there is one by now."""
        return [self] if self.other is None else [self, self.other]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.link.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None or self.is_cut:
            self.unsent.append(data)
        else:
            self.other.transport.write(data)

    def cut(self, is_cut: bool) -> None:
        self.is_cut = is_cut
        self.pace()
        if not is_cut and self.other is not None and self.other.transport is not None:
            unsent, self.unsent = self.unsent, []
            if unsent:
                self.other.transport.write(b"".join(unsent))

    def held_bytes(self) -> int:
        """Give how much waits here, and in the kernel, because its way is cut."""
        if not self.is_cut or self.transport is None or self.transport.is_closing():
            return 0
        answer = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, sys.byteorder) + sum(map(len, self.unsent))

    def pace(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if self.is_cut or self.is_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self._tell_other(full=True)

    def resume_writing(self) -> None:
        self._tell_other(full=False)

    def _tell_other(self, *, full: bool) -> None:
        if self.other is not None:
            self.other.is_full = full
            self.other.pace()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.link.network.given_up += sum(half.held_bytes() for half in self.both())
        self.link.closed(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Link:
    """The proxy before one server: connections to its public port go on to its own."""

    def __init__(self, network: "Network", target: str, own_port: int) -> None:
        self.network = network
        self.target = target
        self._own_port = own_port
        self.callers: set[Half] = set()

    def accept(self) -> Half:
        return Half(self)

    def opened(self, half: Half) -> None:
        if half.other is None:
            self.callers.add(half)
            task = asyncio.ensure_future(self._connect(half))
            self.network.tasks.add(task)
            task.add_done_callback(self.network.tasks.discard)

    def closed(self, half: Half) -> None:
        self.callers.discard(half)

    async def _connect(self, caller: Half) -> None:
        server = Half(self)
        server.other = caller
        server.is_cut = caller.is_cut = bool(self.network.cuts)  # until it is known who calls
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self._own_port)
        except OSError:
            if caller.transport is not None:
                caller.transport.abort()
            return
        caller.other = server
        await self.network.admit()
        for half in (caller, server):
            half.cut(half.is_cut)  # sends what came meanwhile, unless it is to be held
        if caller not in self.callers and server.transport is not None:
            server.transport.close()

    def drop(self) -> None:
        for caller in list(self.callers):
            for half in caller.both():
                if half.transport is not None:
                    half.transport.abort()


class Network:
    """All links, and which ways are cut."""

    def __init__(self, control_port: int) -> None:
        self._control_port = control_port
        self._processes = Processes(f"@{control_port}")
        self._look_up: asyncio.Future[None] | None = None
        self.links: list[Link] = []
        self.cuts: set[tuple[str, str]] = set()
        self.given_up = 0  # bytes that were held on connections which ended before their way was whole again
        self.tasks: set[asyncio.Future[None]] = set()

    async def admit(self) -> None:
        """Hold or let go each way of connections just made; while something is cut, of all that come together."""
        if not self.cuts:
            self.apply()
            return
        if self._look_up is None:
            self._look_up = asyncio.ensure_future(self._look_up_new())
        await self._look_up

    async def _look_up_new(self) -> None:
        await asyncio.sleep(_LOOK_UP_SECONDS)
        self._look_up = None
        self.apply()

    def apply(self) -> None:
        """Hold or let go each way of every connection."""
        names = self._processes.sockets_by_port() if self.cuts else {}
        for caller in [caller for link in self.links for caller in link.callers]:
            if caller.other is None or caller.transport is None or caller.transport.is_closing():
                continue
            source = names.get(caller.transport.get_extra_info("peername")[1], "")
            caller.cut((source, caller.link.target) in self.cuts)
            caller.other.cut((caller.link.target, source) in self.cuts)

    def obey(self, order: dict[str, Any]) -> int:
        """`cut`: pairs [from, to] that are cut from now on, and no others; `drop`: targets to abort.

        Gives how many bytes have been held on the ways cut until now.
        """
        waiting = sum(
            half.held_bytes() for link in self.links for caller in link.callers for half in caller.both()
        )
        held, self.given_up = waiting + self.given_up, 0
        if "cut" in order:
            self.cuts = {(source, target) for source, target in order["cut"]}
            self.apply()
        for link in self.links:
            if link.target in order.get("drop", ()):
                link.drop()
        return held

    async def serve(self, links: list[tuple[str, int, int]]) -> None:
        loop = asyncio.get_running_loop()
        for target, public_port, own_port in links:
            link = Link(self, target, own_port)
            self.links.append(link)
            await loop.create_server(link.accept, "127.0.0.1", public_port, backlog=512)

        async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(b"%d\n" % self.obey(json.loads(line)))
            writer.close()

        server = await asyncio.start_server(control, "127.0.0.1", self._control_port)
        await server.serve_forever()


class Processes:
    """The named processes of one cluster, and which sockets are theirs."""

    def __init__(self, suffix: str) -> None:
        """Know those whose variable ends so."""
        self._suffix = suffix
        self._names: dict[str, str] = {}  # by process id

    def sockets_by_port(self) -> dict[int, str]:
        """Tell which process owns each local TCP port that a connection comes from."""
        ports = {f"socket:[{inode}]": port for port, inode in _inodes()}
        processes = [entry.name for entry in Path("/proc").iterdir()]
        self._names = {process: name for process in processes if (name := self._name(process))}
        owners: dict[int, str] = {}
        for process, name in self._names.items():
            try:
                for descriptor in os.scandir(f"/proc/{process}/fd"):
                    port = ports.get(os.readlink(descriptor.path))  # noqa: PTH115  # thousands of them: no objects
                    if port is not None:
                        owners[port] = name
            except OSError:  # it ended meanwhile
                continue
        return owners

    def _name(self, process: str) -> str:
        """Give its name, once it has one: before a child is what it will be, it has its parent's variables."""
        if process in self._names:
            return self._names[process]
        try:
            environment = Path("/proc", process, "environ").read_bytes().split(b"\0")
        except OSError:  # no process, or it ended meanwhile
            return ""
        prefix = f"{NAME_VARIABLE}=".encode()
        values = (item[len(prefix) :].decode() for item in environment if item.startswith(prefix))
        name = next(values, "")
        return name.removesuffix(self._suffix) if name.endswith(self._suffix) else ""


def _inodes() -> Iterable[tuple[int, str]]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        yield int(fields[1].rpartition(":")[2], 16), fields[9]


if __name__ == "__main__":
    description = json.loads(Path(sys.argv[1]).read_text())
    uvloop.run(Network(description["control_port"]).serve(description["links"]))
