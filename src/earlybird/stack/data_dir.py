"""The folder that holds everything a stack keeps: whose it is, who uses it now, and how it is emptied.

A marker file makes it recognisably ours; a lock makes sure that one stack at a time uses it.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from earlybird.stack import StackError

MARKER = "earlybird.json"
LOCK = "lock"
_NOT_A_STACKS = {LOCK, "signing-keys"}  # what may be there before the first start
_LOG_BYTES = 10 * 1024 * 1024


@contextmanager
def claim(path: Path) -> Iterator[Path]:
    """Make the folder if need be, and hold its lock; yield its absolute path.

    Raises StackError when it cannot be written, holds someone else's files, or is in use by another stack.
    """
    root = path.expanduser().absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(root)
        lock = (root / LOCK).open("a+")
    except (FileExistsError, NotADirectoryError):
        msg = f"The data folder {root} is, or lies in, a file: choose another with --data-dir."
        raise StackError(msg) from None
    except OSError as error:
        msg = f"The data folder {root} cannot be written ({error.strerror}): choose another with --data-dir."
        raise StackError(msg) from None
    with lock:
        _take(lock, root)
        yield root
        lock.truncate(0)


def furnish(root: Path, members: int, *, fresh: bool) -> None:
    """Make a claimed folder ready for a start: emptied if `fresh`, marked, with a folder for logs.

    Raises StackError when its data were made with another number of members.
    """
    if fresh:
        _empty(root)
    _mark(root, members)
    (root / "stack.json").unlink(missing_ok=True)  # left by a stack that was killed
    (root / "logs").mkdir(exist_ok=True)
    for log in (root / "logs").glob("*.log"):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _refuse_foreign(root: Path) -> None:
    names = {entry.name for entry in root.iterdir()}
    if MARKER not in names and names - _NOT_A_STACKS:
        msg = f"{root} holds files that are not earlybird's: choose another folder with --data-dir."
        raise StackError(msg)


def _take(lock: TextIO, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        msg = f"{root} is in use by another stack (process {holder}): stop it, or choose another --data-dir."
        raise StackError(msg) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _empty(root: Path) -> None:
    if not (root / MARKER).exists():
        return  # `claim` has seen that there is nothing of a stack here
    for entry in root.iterdir():
        if entry.name in {LOCK, MARKER}:  # the marker goes last: an interrupted --fresh can be repeated
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (root / MARKER).unlink()


def _mark(root: Path, members: int) -> None:
    marker = root / MARKER
    if not marker.exists():
        marker.write_text(json.dumps({"members": members}))
    made_with = json.loads(marker.read_text())["members"]
    if made_with != members:
        msg = (
            f"The data in {root} were made with --members {made_with}: start with that, choose another "
            "--data-dir, or start with empty data: --fresh."
        )
        raise StackError(msg)
