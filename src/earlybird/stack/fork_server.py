"""What the fork server does first, when it imports this module: it binds its life to that of its parent.

By itself it would go on for as long as one of its forks does.
"""

import os
import sys

from earlybird.stack.child import die_with

PID = os.getpid()  # the forks have it from here

os.setsid()  # a Ctrl-C, or a terminal that closes, is for the parent alone, which stops everything in order
if sys.platform == "linux":
    die_with(os.getppid())()
