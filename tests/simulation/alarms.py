"""What the workers log. The faults they meet are of no interest here; an alarm without a cause is a violation."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

_ERROR = 40
_CAUSED = {"ledger_gap"}  # what was sent and got lost: the granter stops, says so, and reads again


@contextmanager
def alarms() -> Iterator[None]:
    """Have an alarm that has no cause in a history raise AssertionError in the worker that gives it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_ERROR), processors=[_judge])
    yield
    structlog.configure(**before)


def _judge(_: object, __: str, event: MutableMapping[str, Any]) -> Any:
    if event["event"] not in _CAUSED:
        raise AssertionError(f"a false alarm: {event['event']}")
    raise structlog.DropEvent
