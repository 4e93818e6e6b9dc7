"""The local stack: the real servers and every role of the system on one machine, started and kept running.

`up` is the whole of it; `servers.running_servers` is the servers alone, for tests. What the roles do is not
known here: they are started as `python -m earlybird serve <role>`.
"""


class StackError(Exception):
    """The stack cannot start or go on; the text says why in one line, and what to do about it."""
