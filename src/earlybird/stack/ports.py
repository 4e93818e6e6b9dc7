"""Which loopback ports the processes get: remembered between starts, so that addresses stay the same.

They lie below 32768, where Linux begins to hand out ports to outgoing connections, so that a clash is rare.
"""

import asyncio
import errno
import json
import secrets
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from earlybird.stack import StackError

PORTS_FILE = "ports.json"
LOWEST, HIGHEST = 20_000, 32_000
_SETTLE_SECONDS = 3.0
_LISTENING = "0A"  # the state of a listening socket in /proc/net/tcp


class Ports:
    """The ports of one data folder, remembered in a file.

    Ports are given before anybody listens on them. Until the end of the block they are held, so that no other
    stack, of this process or another, is given the same ones meanwhile.
    """

    def __init__(self, memory: Path) -> None:
        """Remember the ports in this file."""
        self._memory = memory
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Hold what will be assigned."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Let go of it; who listens goes on."""
        for held in self._held:
            held.close()

    async def assign(self, names: Sequence[str], avoid: int = 0) -> dict[str, int]:
        """Return a free port for each name, the remembered one if it is free, and remember them.

        Waits up to 3 s for remembered ports: processes of a stack that was killed may still be ending.
        """
        remembered = _read(self._memory)
        await _settle([remembered[name] for name in names if name in remembered])
        used = {avoid, *(port for name, port in remembered.items() if name not in names)}
        for name in names:
            port = remembered.get(name, avoid)
            if port in used or not is_free(port):
                port = self._pick(used)
            used.add(port)
            remembered[name] = port
        _write(self._memory, remembered)
        return {name: remembered[name] for name in names}

    def _pick(self, used: set[int]) -> int:
        while True:
            port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
            if port not in used and self._hold(port):
                return port

    def _hold(self, port: int) -> bool:
        """Take a port that nobody else holds, listening or not; a server of ours can listen on it all the same."""
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            return False
        if sys.platform == "linux":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # from now on, as every server sets it
            self._held.append(held)
        else:  # elsewhere a socket that is bound would keep the server out
            held.close()
        return True


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    return _refusal(port) is None


def require_free(port: int) -> None:
    """Raise StackError when the balancer cannot listen on `port`, saying who does, as far as can be told."""
    refusal = _refusal(port)
    if refusal is None:
        return
    if refusal.errno == errno.EADDRINUSE:
        msg = f"Port {port} is taken{_by(port)}: stop that, or choose another with --port."
    else:
        msg = f"Port {port} cannot be listened on ({refusal.strerror}): choose another with --port."
    raise StackError(msg)


def _refusal(port: int) -> OSError | None:
    with socket.socket() as probe:
        # Connections of an earlier server that are still closing are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            return error
    return None


async def _settle(ports: Iterable[int]) -> None:
    waiting = set(ports)
    deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
    while waiting := {port for port in waiting if not is_free(port)}:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.05)


def _read(memory: Path) -> dict[str, int]:
    try:
        remembered = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}  # a first start, or a file cut short: new ports do no harm
    return {name: port for name, port in remembered.items() if isinstance(port, int)}


def _write(memory: Path, ports: dict[str, int]) -> None:
    memory.write_text(json.dumps(ports, indent=2))


def _by(port: int) -> str:
    """Name the process that listens, on Linux and when we may look."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        try:
            if str(link.readlink()) in sockets:
                process = link.parents[1]
                return f" by process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:  # the process has ended, or belongs to someone else
            continue
    return ""


def _listening_inodes(port: int) -> Iterable[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENING:
                yield fields[9]
