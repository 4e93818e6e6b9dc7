"""`make simulate`: many histories, on all cores."""

import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress

from simulation.alarms import alarms
from simulation.history import simulate

app = App(name="make simulate ARGS=", help=__doc__)
_PIECE = 500
_RARELY = 50_000  # objects made before the garbage is collected: a history is over in two milliseconds


@app.default
def main(
    *,
    histories: Annotated[int, Parameter(help="how many")] = 100_000,
    seed: Annotated[int, Parameter(help="the first seed; a history is its seed")] = 0,
    workers: Annotated[int | None, Parameter(help="how many processes; one for each core if left out")] = None,
) -> int:
    """Simulate histories of the production workers; stop at the first that breaks a promise, and say its seed."""
    console, started, steps = Console(highlight=False, soft_wrap=True), time.perf_counter(), 0
    pieces = [
        range(first, min(first + _PIECE, seed + histories)) for first in range(seed, seed + histories, _PIECE)
    ]
    with (
        ProcessPoolExecutor(workers or os.cpu_count(), initializer=_start) as pool,
        Progress(console=console) as progress,
    ):
        bar = progress.add_task("histories", total=histories)
        for piece, (sent, violation) in zip(pieces, pool.map(_simulate, pieces), strict=True):
            if violation:
                pool.shutdown(cancel_futures=True)
                console.print(violation, style="red", markup=False)
                return 1
            steps += sent
            progress.advance(bar, len(piece))
    seconds = time.perf_counter() - started
    console.print(f"{histories} histories, {steps} messages, no violation: {histories / seconds:.0f} histories/s")
    return 0


def _start() -> None:
    gc.freeze()
    gc.set_threshold(_RARELY)


def _simulate(seeds: range) -> tuple[int, str]:
    """Give how many messages were sent, and what was violated first, if anything."""
    steps = 0
    with alarms():
        for seed in seeds:
            try:
                steps += simulate(seed).steps
            except Exception as error:  # noqa: BLE001  # whatever it is, the seed is what helps
                return steps, "\n".join([f"{type(error).__name__}: {error}", *error.__notes__])
    return steps, ""


if __name__ == "__main__":
    sys.exit(app())
