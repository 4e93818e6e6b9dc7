"""An event loop in virtual time: when nothing is ready it jumps to what comes next, and nothing else ever happens.

All that is random comes from the models, as the time that messages travel; so a seed is a history.
"""

import asyncio
import heapq
from asyncio.base_events import BaseEventLoop


class Deadlock(Exception):
    """Nothing is ready and nothing is awaited: whoever waits would wait for ever."""


class SimulatedLoop(BaseEventLoop):
    """What asyncio needs of a loop, without a clock and without a selector."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._messages: list[tuple[float, int, asyncio.Future[None]]] = []
        self.sent = 0  # messages

    def time(self) -> float:
        """Give the virtual time in seconds since the history began."""
        return self._now

    def arrival(self, seconds: float) -> asyncio.Future[None]:
        """Give what is done so many seconds from now: as asyncio.sleep, for a third of the work."""
        arrived: asyncio.Future[None] = asyncio.Future(loop=self)
        self.sent += 1
        heapq.heappush(self._messages, (self._now + seconds, self.sent, arrived))
        return arrived

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]  # as BaseEventLoop keeps it
        while not ready:
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _jump(self) -> None:
        """Go to the next moment at which something happens."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        messages = self._messages
        if messages and (not timers or messages[0][0] <= timers[0].when()):
            self._now, _, arrived = heapq.heappop(messages)
            if not arrived.done():
                arrived.set_result(None)
        elif timers:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            if not timer.cancelled():
                self._now = timer.when()
                self._ready.append(timer)  # type: ignore[attr-defined]
        else:
            raise Deadlock

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap: it is passed over when its time comes."""


def simulated_loop() -> SimulatedLoop:
    """Give the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop
