"""Named places where a test may have a process die, between any two steps that matter.

In production the variable is unset and a crash point costs one dictionary look-up.
"""

import os
import signal


def crash_point(name: str) -> None:
    """Die here by SIGKILL, with no clean-up of any kind, if `EARLYBIRD_CRASH_AT` is this name."""
    if os.environ.get("EARLYBIRD_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
