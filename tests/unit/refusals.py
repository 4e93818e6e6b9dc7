"""Short cut to see with which code something is refused."""

from collections.abc import Callable

from earlybird.errors import Refusal


def refusal_of(act: Callable[[], object]) -> str | None:
    """Give the code with which an act is refused; None if it is not."""
    try:
        act()
    except Refusal as refusal:
        return refusal.code
    return None
