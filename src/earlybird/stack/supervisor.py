"""Keeps the children running: starts again what dies, ever more slowly, and stops everything in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from earlybird.infra.processes import cancel_until_done, run_together
from earlybird.stack import StackError
from earlybird.stack.child import Child

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 10.0


class Supervisor:
    """Watches over children that have answered once. `say` tells the person; `changed` is called at each change.

    A change is a child that ended, or that answers again.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """Watch over nothing yet."""
        self._say = say
        self._changed = changed
        self._children: list[Child] = []
        self._watches: list[asyncio.Task[None]] = []

    async def start(self, child: Child) -> None:
        """Start a child, and keep it running from when it first answers; StackError if it never does."""
        self._children.append(child)
        await child.start()
        self._watches.append(asyncio.create_task(self._keep_running(child)))

    async def stop(self, in_order: Sequence[Iterable[Child]]) -> None:
        """Restart nothing more, and stop group after group, the children of a group at once."""
        await cancel_until_done(self._watches)
        for group in in_order:
            await asyncio.gather(*(child.stop() for child in group))

    def kill(self) -> None:
        """Send SIGKILL to every child at once; a `stop` then has nothing to wait for."""
        for child in self._children:
            child.send(signal.SIGKILL)

    async def _keep_running(self, child: Child) -> None:
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE_SECONDS
        while True:
            since = clock()
            code = await child.ended()
            self._changed()
            if clock() - since >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            fate = f"{child.name} stopped (exit code {code}; its log: {child.log})"
            self._say(f"{fate}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._start_again(child)

    async def _start_again(self, child: Child) -> None:
        with suppress(StackError):  # it has ended once more: the next round says so
            # Without a limit: what it waits for may itself be away, and a slow start is no death.
            await child.start(within_seconds=None)
            self._say(f"{child.name} answers again")
        self._changed()


async def all_at_once(*jobs: Coroutine[Any, Any, None]) -> None:
    """Await every job at once; when one fails, cancel the rest and raise what it raised."""
    await run_together(jobs, until=asyncio.FIRST_EXCEPTION)
