"""`earlybird passwords`: how passwords are hashed."""

import os
from functools import partial
from timeit import repeat
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from earlybird.cli.deployment import WholeNumber, plain_console

app = App(name="passwords", help="Choose how passwords are hashed.")
_MEMORY_KIB = (19_456, 32_768, 47_104, 65_536, 131_072, 262_144)  # OWASP's least, and more
_MEASURED = 3


@app.command
def calibrate(
    *,
    milliseconds: Annotated[
        WholeNumber, Parameter(help="of one core that a login may cost", validator=Number(gte=5, lte=5000))
    ] = 50,
) -> None:
    """Measure Argon2id on this machine, and suggest settings: as much memory as fits into the time."""
    from argon2 import PasswordHasher

    table = Table("memory (KiB)", "iterations", "ms a hash", "logins a second, all cores")
    best = None
    for memory in _MEMORY_KIB:
        for iterations in (2, 3):
            hasher = PasswordHasher(iterations, memory, parallelism=1)
            took = min(repeat(partial(hasher.hash, "anything"), number=1, repeat=_MEASURED)) * 1000
            rate = 1000 / took * (os.cpu_count() or 1)
            table.add_row(str(memory), str(iterations), f"{took:.0f}", f"{rate:.0f}")
            if took <= milliseconds:
                best = memory, iterations
    console = plain_console(soft_wrap=True)
    console.print(table)
    if best is None:
        console.print(f"Nothing that OWASP allows fits into {milliseconds} ms: keep the defaults.")
    else:
        console.print(f"EARLYBIRD_PASSWORD_MEMORY_KIB={best[0]} EARLYBIRD_PASSWORD_ITERATIONS={best[1]}")
        console.print("Passwords are hashed anew with these as their owners log in.")
