"""Ports for tests: each worker has a range of its own, below those that Linux hands out by itself.

A port that the system picks may be picked again, by another test or for an outgoing connection, before anybody
listens on it.
"""

import itertools
import os

from earlybird.stack.ports import is_free

_LOWEST, _EACH = 10_000, 2_000  # the stacks' own begin at 20,000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
_numbers = itertools.cycle(range(_LOWEST + _worker * _EACH, _LOWEST + (_worker + 1) * _EACH))


def free_port() -> int:
    """Give a loopback port that nobody listens on, and that no other test is given for a long time."""
    return next(port for port in itertools.islice(_numbers, _EACH) if is_free(port))
