"""The fork server imports this module first. Its life is bound to its parent's here: it dies when the parent dies.

Otherwise it would run for as long as one of its forks runs.
"""

import os
import sys

from earlybird.stack.child import die_with

PID = os.getpid()  # the forks have it from here

os.setsid()  # a Ctrl-C, or a terminal that closes, is for the parent alone, which stops everything in order
if sys.platform == "linux":
    die_with(os.getppid())()
