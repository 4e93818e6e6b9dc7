"""Workers: loops that work until they are cancelled, and begin again after an interruption that they expect.

This is the one place for back-off, standing by, alarms and readiness. What a worker expects stands in its
`answers`. An exception that is not in them is a bug: it ends the worker, and with it the process, with its
traceback in the log. The supervisor starts the process again, from what the database says.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import nats.errors
import structlog
from pymongo.errors import PyMongoError

from earlybird.errors import InvariantBroken, NotMigrated, Unavailable
from earlybird.metrics import INTERRUPTIONS, WORKER_WORKING

log = structlog.get_logger()
_REST_SECONDS, _LONGEST_REST_SECONDS = 0.005, 0.05  # for each of a batch; at most


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker does about an exception that it expects: logs it, pauses, begins again."""

    event: str  # docs/runbook.md says what to do about it
    level: Literal["debug", "info", "warning", "error"]
    pause_seconds: float
    stays_ready: bool = False  # another worker did the work

    def log(self, error: Exception) -> None:
        """Log the event. Only our own alarms are quoted: a driver's message may hold what people typed."""
        if self.level == "error":
            log.error(self.event, what=str(error), do="see docs/runbook.md")
        else:
            getattr(log, self.level)(self.event, error=type(error).__name__)


Answers = Mapping[type[Exception], Answer | None]  # None: let it out, which ends the process


class Worker(ABC):
    """One worker. Any number of each may run: what makes that harmless is in the database."""

    answers: ClassVar[Answers]  # the first that fits an exception counts

    def __init__(self) -> None:
        self.is_working = False
        WORKER_WORKING.labels(self._kind()).set_function(lambda: float(self.is_working))

    @classmethod
    def _kind(cls) -> str:
        return cls.__name__.lower()

    async def check(self) -> None:
        """Return while the worker does its work; raise RuntimeError otherwise. A readiness check."""
        if not self.is_working:
            raise RuntimeError(f"the {self._kind()} does not work")

    async def run(self) -> None:
        """Work until cancelled. Raises what `answers` has no answer to."""
        while True:
            try:
                await self.work()
            except tuple(self.answers) as error:
                answer = next(answer for kind, answer in self.answers.items() if isinstance(error, kind))
                if answer is None:
                    raise
                answer.log(error)
                INTERRUPTIONS.labels(self._kind(), answer.event).inc()
                self.is_working = self.is_working and answer.stays_ready
                await asyncio.sleep(answer.pause_seconds)

    @abstractmethod
    async def work(self) -> None:
        """Work until something is in the way. Begins from what the database says; sets `is_working` once it
        does."""


def interruptions(event: str, pause_seconds: float) -> Answers:
    """Return the answers that all workers share: a server that does not answer is asked again after a pause."""
    again = Answer(event, "warning", pause_seconds)
    return {
        nats.errors.ConnectionClosedError: None,  # nats-py does not reconnect after this: see connect_nats
        InvariantBroken: Answer("invariant_broken", "error", pause_seconds),
        NotMigrated: again,
        Unavailable: again,
        nats.errors.Error: again,
        PyMongoError: again,
        TimeoutError: again,
    }


def rest_seconds(done: int) -> float:
    """Return how long to rest after a batch, so that those who come meanwhile share the next one.

    Whoever comes alone is never made to wait. Where several came together more follow, and one commit for ten
    costs little more than for one: at 200 a second that is a third of what the whole line takes.
    """
    return 0.0 if done < 2 else min(_LONGEST_REST_SECONDS, done * _REST_SECONDS)
