"""Short cuts to see how something is refused."""

from collections.abc import Callable

from earlybird.errors import Refusal


def refusal_of(act: Callable[[], object]) -> str | None:
    """Return the code with which an act is refused; None if it is not."""
    refused = refused_with(act)
    return None if refused is None else refused[0]


def refused_with(act: Callable[[], object]) -> tuple[str, str] | None:
    """Return code and message with which an act is refused; None if it is not."""
    try:
        act()
    except Refusal as refusal:
        return refusal.code, refusal.message
    return None
