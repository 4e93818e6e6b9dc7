"""Roles: the long-running parts that a process is made of."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

_CANCEL_AGAIN_SECONDS = 0.5


class Role(Protocol):
    """Something that runs until it is cancelled, and then stops cleanly."""

    async def run(self) -> None:
        """Run; being cancelled is the one way to stop."""


class OpenedRole:
    """A role together with what it needs open: a part that cannot be reached yet holds up this role alone."""

    def __init__(self, opening: AbstractAsyncContextManager[Role]) -> None:
        self._opening = opening

    async def run(self) -> None:
        """Open what the role needs, run it, close what was opened."""
        async with self._opening as role:
            await role.run()


class RoleAfter:
    """A role that begins when something else has come about, such as a schema."""

    def __init__(self, come_about: Callable[[], Awaitable[None]], role: Role) -> None:
        self._come_about = come_about
        self._role = role

    async def run(self) -> None:
        """Wait, then run the role."""
        await self._come_about()
        await self._role.run()


class RoleGroup:
    """Several roles run as one: if one ends, all stop."""

    def __init__(self, *roles: Role) -> None:
        self._roles = roles

    async def run(self) -> None:
        """Run all until cancelled or until one fails; raises what the first to fail raised."""
        await run_together([role.run() for role in self._roles], until=asyncio.FIRST_COMPLETED)


async def run_together(jobs: Iterable[Coroutine[Any, Any, None]], *, until: str) -> None:
    """Run all at once `until` (as for `asyncio.wait`), cancel the rest, and raise what a failed one raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=until)
    finally:
        await cancel_until_done(tasks)
    for task in ended:
        task.result()


async def cancel_until_done(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks again and again, and wait for their end; what they raise stays in them.

    One cancellation can be lost inside a driver (seen once in some tens): on Python 3.11 `asyncio.wait_for`
    swallows one that comes together with its result.
    """
    pending = {task for task in tasks if not task.done()}
    cancelled = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
        except asyncio.CancelledError as error:  # we stop already: what the tasks need stays open until they end
            cancelled = error
        pending = {task for task in pending if not task.done()}
    if cancelled is not None:
        raise cancelled
