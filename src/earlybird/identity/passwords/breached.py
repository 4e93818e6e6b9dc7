"""Breached passwords: those that attackers have read elsewhere and try first (OWASP ASVS 5.0, 6.2.12).

The file is the one that https://haveibeenpwned.com/Passwords gives out, ordered by hash: a line for each
password, its SHA-1 in hexadecimal, a colon, and how often it was seen. It has tens of GB, so it stays on disk:
a search reads some forty places of it.
"""

import asyncio
import os
import re
from bisect import bisect_left
from hashlib import sha1
from pathlib import Path

from earlybird.errors import Failure
from earlybird.identity.passwords.rules import weak

_FIRST_LINE = re.compile(rb"[0-9A-F]{40}:\d+\r?\n")
_LONGEST_LINE = 64  # bytes
_HASH = 40  # hexadecimal digits


class BreachedPasswords:
    """The passwords of one file; none without a file."""

    def __init__(self, path: Path | None) -> None:
        """Look at the file. Raises Failure if it has no such lines; OSError if it cannot be read."""
        self._path = path
        if path is not None:
            with path.open("rb") as file:
                if not _FIRST_LINE.match(file.read(_LONGEST_LINE)):
                    raise Failure(f"{path}: its first line is no SHA-1, a colon and a number")

    async def check(self, password: str) -> None:
        """Refuse a breached password, in its normal form. Raises Refusal `weak_password`; OSError."""
        if self._path is not None and await asyncio.to_thread(_has, self._path, password):
            raise weak("this was found among passwords that attackers know")


def _has(path: Path, password: str) -> bool:
    wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    with path.open("rb", buffering=0) as file:

        def hash_from(offset: int) -> bytes:
            """Return the hash of the first line that starts there or later; nothing at the end of the file."""
            if offset == 0:
                return os.pread(file.fileno(), _HASH, 0)
            _, _, line = os.pread(file.fileno(), 2 * _LONGEST_LINE, offset - 1).partition(b"\n")
            return line[:_HASH]

        def is_there_or_before(offset: int) -> bool:
            return not (found := hash_from(offset)) or found >= wanted

        offset = bisect_left(range(os.fstat(file.fileno()).st_size), True, key=is_there_or_before)
        return hash_from(offset) == wanted
