"""The signals that stop `earlybird up`: the first in order, every further one at once."""

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self


class StopSignals:
    """The first SIGINT, SIGTERM or SIGHUP sets `asked`; every further one calls `insisted`."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        """Listen from when the block is entered, in the running loop."""
        self.asked = asyncio.Event()
        self.insisted: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in self._NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Leave the signals to Python again."""
        for number in self._NUMBERS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _receive(self) -> None:
        if self.asked.is_set():
            self.insisted()
        self.asked.set()
