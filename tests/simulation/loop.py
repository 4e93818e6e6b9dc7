"""An event loop in virtual time: when nothing is ready it jumps to what comes next, and nothing else ever happens.

All that is random comes from the models, as the time that messages travel; so a seed is a history. What is ready
runs in the order in which it became ready, as in production, where workers rely on it.
"""

import asyncio
import heapq
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

Arrival = asyncio.Future[None]
_REMEMBERED = 60  # steps, to tell how it came to a violation


class Deadlock(Exception):
    """Nothing is ready and nothing is awaited: whoever waits would wait for ever."""


class SimulatedHandle:
    """As asyncio.TimerHandle, for a third of the work."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "moment")

    def __init__(self, callback: Callable[..., object], args: Any, context: Context | None, moment: float) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.moment = moment
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.moment


class SimulatedLoop(BaseEventLoop):
    """What asyncio needs of a loop, without a clock and without a selector. What a callback raises ends it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._runnable: deque[SimulatedHandle] = deque()
        self._coming: list[tuple[float, int, SimulatedHandle | Arrival, type[Exception] | None]] = []
        self._made = 0  # of what is coming: so that things of one moment keep their order
        self.sent = 0  # messages
        self.tasks: list[asyncio.Task[Any]] = []  # all that ever began
        self.steps: deque[tuple[float, str, str, str]] = deque(maxlen=_REMEMBERED)

    def time(self) -> float:
        """Give the virtual time in seconds since the history began."""
        return self._now

    def note(self, who: str, what: str, result: str = "") -> None:
        """Remember a step for a while."""
        self.steps.append((self._now, who, what, result))

    def arrival(self, seconds: float, lost: type[Exception] | None = None) -> Arrival:
        """Give what is done so many seconds from now, or has failed by `lost`: as asyncio.sleep, but quicker."""
        arrived: Arrival = asyncio.Future(loop=self)
        self.sent += 1
        self._made += 1
        heapq.heappush(self._coming, (self._now + seconds, self._made, arrived, lost))
        return arrived

    def call_soon(  # type: ignore[override]  # as much of a handle as anybody uses
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> SimulatedHandle:
        handle = SimulatedHandle(callback, args, context, self._now)
        self._runnable.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> SimulatedHandle:
        handle = SimulatedHandle(callback, args, context, when)
        self._made += 1
        heapq.heappush(self._coming, (when, self._made, handle, None))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> SimulatedHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=str(name), context=context)
        self.tasks.append(task)
        return task

    def _run_once(self) -> None:
        """Run until the loop is stopped: for this loop, once is enough."""
        runnable = self._runnable
        while not self._stopping:  # type: ignore[attr-defined]  # as BaseEventLoop keeps it
            if runnable:
                handle = runnable.popleft()
                if not handle.is_cancelled:
                    handle.context.run(handle.callback, *handle.args)
            else:
                self._jump()

    def _jump(self) -> None:
        """Go to the next moment at which something happens."""
        if not self._coming:
            raise Deadlock
        moment, _, next_, lost = heapq.heappop(self._coming)
        if isinstance(next_, SimulatedHandle):
            if not next_.is_cancelled:
                self._now = moment
                self._runnable.append(next_)
        elif not next_.done():
            self._now = moment
            if lost is None:
                next_.set_result(None)
            else:
                next_.set_exception(lost())


def simulated_loop() -> SimulatedLoop:
    """Give the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop
