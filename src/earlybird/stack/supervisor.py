"""Keeps the children running: starts again what dies, ever more slowly, and stops everything in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence

from earlybird.stack import StackError
from earlybird.stack.child import Child

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 10.0


class Supervisor:
    """Watches over children that have answered once. `say` tells the person, `changed` that a pid did."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._watches: dict[Child, asyncio.Task[None]] = {}

    async def start(self, child: Child) -> None:
        """Start a child, and keep it running from when it first answers; StackError if it never does."""
        self._watches[child] = asyncio.ensure_future(asyncio.sleep(0))  # known, so that `kill` reaches it
        await child.start()
        self._watches[child] = asyncio.create_task(self._keep_running(child))

    async def stop(self, in_order: Sequence[Iterable[Child]]) -> None:
        """Stop group after group, the children of a group at once, and restart nothing more."""
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for group in in_order:
            await asyncio.gather(*(child.stop() for child in group))

    def kill(self) -> None:
        """Send SIGKILL to every child at once; `stop` then has nothing to wait for."""
        for child in self._watches:
            child.send(signal.SIGKILL)

    async def _keep_running(self, child: Child) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            lived = await self._outlive(child)
            if lived >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._say(f"Starting {child.name} again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._start_again(child)

    async def _outlive(self, child: Child) -> float:
        """Wait until the child is gone; return for how many seconds it answered before."""
        clock = asyncio.get_running_loop().time
        was_answering, since = child.answers, clock()
        code = await child.ended()
        self._changed()
        if not was_answering:
            return 0.0
        self._say(f"{child.name} stopped with exit code {code}; its log: {child.log}")
        return clock() - since

    async def _start_again(self, child: Child) -> None:
        try:
            # Without a limit: what it waits for may itself be away, and a slow start is no death.
            await child.start(within_seconds=None)
        except StackError as error:
            self._say(str(error))
        else:
            self._say(f"{child.name} answers again")
        self._changed()


async def all_at_once(*jobs: Awaitable[None]) -> None:
    """Await every job at once; at the first StackError cancel the rest and raise it."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(_as_coroutine(job))
    except* StackError as failures:
        failure = failures
    else:
        return
    raise _first(failure)


async def _as_coroutine(job: Awaitable[None]) -> None:
    await job


def _first(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
