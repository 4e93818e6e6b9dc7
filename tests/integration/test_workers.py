"""A bug in a worker is no outage: it ends the worker with its traceback, and never passes for an interruption."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from earlybird.access.revocation_feed import RevocationFeed
from earlybird.errors import InvariantBroken, NotMigrated
from earlybird.identity.contacts.courier import Courier
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.infra.workers import Worker
from earlybird.promotions.events.publisher import Publisher
from earlybird.promotions.granting.caretaker import Caretaker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.places.placer import Placer
from earlybird.promotions.webhooks.announcer import Announcer
from earlybird.promotions.webhooks.collector import Collector
from earlybird.promotions.webhooks.dispatcher import Dispatcher

BUGS = [
    KeyError("n"),
    IndexError(),
    AttributeError(),
    TypeError(),
    AssertionError(),
    ValueError(),
    ZeroDivisionError(),
]


class Broken:
    """Anything at all that a worker depends on, with a fault in it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


# How each worker is made of its dependencies. A worker that is missing here fails the first test.
MAKE: dict[type[Worker], Callable[[Any], Worker]] = {
    Sequencer: lambda broken: Sequencer(broken, asyncio.Event()),
    Relay: lambda broken: Relay(broken, broken, 1, asyncio.Event()),
    Granter: lambda broken: Granter(broken, broken, broken),
    Caretaker: lambda broken: Caretaker(broken, broken, broken, broken),
    Placer: lambda broken: Placer(broken, broken),
    Publisher: lambda broken: Publisher(broken, broken, 1),
    Courier: lambda broken: Courier(broken, broken, broken),
    Collector: lambda broken: Collector(broken, broken),
    Dispatcher: lambda broken: Dispatcher(broken, broken, broken),
    Announcer: lambda broken: Announcer(broken, broken, broken, {}),
    RevocationFeed: lambda broken: RevocationFeed(broken, "test"),
}


def test_every_worker_is_tried() -> None:
    assert set(Worker.__subclasses__()) == set(MAKE)


@pytest.mark.parametrize("kind", MAKE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)
async def test_a_bug_ends_the_worker_with_its_own_exception(kind: type[Worker], bug: Exception) -> None:
    with capture_logs() as logs, pytest.raises(type(bug)) as raised:
        await asyncio.wait_for(MAKE[kind](Broken(bug)).run(), timeout=10)
    assert raised.value is bug
    assert logs == []


@pytest.mark.parametrize("kind", MAKE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("error", "level", "event"),
    [
        (NotMigrated("no head"), "warning", "{}_interrupted"),
        (InvariantBroken("a hole"), "error", "invariant_broken"),
    ],
)
async def test_what_a_worker_expects_is_logged_and_it_goes_on(
    kind: type[Worker], error: Exception, level: str, event: str
) -> None:
    worker = MAKE[kind](Broken(error))
    with capture_logs() as logs:
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(10):
            while len(logs) < 2:  # it has begun again, and not ended
                await asyncio.sleep(0.01)
        running.cancel()
    assert {(entry["log_level"], entry["event"]) for entry in logs} == {
        (level, event.format(kind.__name__.lower()))
    }
    with pytest.raises(RuntimeError, match="does not work"):
        await worker.check()
