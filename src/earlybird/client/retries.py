"""When a call is sent again, and after what pause. Pure: the random number and the time are arguments.

Exponential back-off with full jitter (AWS Architecture Blog, “Exponential Backoff And Jitter”), and no sooner than
the service asks for.
"""

from dataclasses import dataclass

from earlybird.client.calls import Answer, refusal_code

_GATEWAYS = frozenset({502, 503, 504})
# The service has done nothing: it was too busy to begin.
_NOTHING_DONE = "overloaded"
# The first sending of this very call is still under way; its answer is kept under the idempotency key.
_STILL_DOING = "request_in_flight"


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is sent at most, and for how long it may take with all its pauses."""

    tries: int = 6
    seconds: float = 10.0
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 2.0

    def pause(self, tries_made: int, seconds_gone: float, asked_for: float | None, chance: float) -> float | None:
        """Return how long to wait, in seconds, before the next try; None to give up.

        `asked_for` is what the service asked for in `Retry-After`, if it did; `chance` is a number from 0 to 1.
        """
        if tries_made >= self.tries:
            return None
        ceiling = min(self.longest_pause_seconds, self.first_pause_seconds * 2.0 ** (tries_made - 1))
        # Those who were turned away together do not come back together.
        pause = ceiling * chance if asked_for is None else asked_for * (1 + chance / 2)
        return pause if seconds_gone + pause <= self.seconds else None


def may_repeat_after(answer: Answer, *, is_repeatable: bool) -> bool:
    """Tell whether a call may be sent again after this answer, and whether that can help."""
    if answer.status not in _GATEWAYS and answer.status != 409:
        return False
    code = refusal_code(answer)
    if answer.status == 409:
        return is_repeatable and code == _STILL_DOING
    return is_repeatable or code == _NOTHING_DONE
