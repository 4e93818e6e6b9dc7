"""`make faults`: run the matrix, cell after cell, and write what came of it."""

import asyncio
import gc
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Annotated, Any

import uvloop
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from earlybird.stack import StackError
from faults.cluster import Cluster, running_cluster
from faults.evidence import keep_evidence
from faults.faults import NotReached
from faults.hunt import hunt_mutants, read_hunts
from faults.matrix import SEEDS, Cell, cells
from faults.report import write_report
from faults.results import read_results, record_result
from faults.run import HARNESS, Result, Run

app = App(name="make faults ARGS=", help=__doc__)
RESULTS = Path("docs/faults.jsonl")
REPORT = Path("docs/faults.md")
_RUN_SECONDS = 600
_RARELY = 20_000  # objects made before the garbage is collected: the clients share the machine with the cluster


@app.default
def main(
    *,
    cell: Annotated[str, Parameter(help="only cells whose name contains this")] = "",
    seeds: Annotated[int, Parameter(help="runs per cell")] = SEEDS,
    seed: Annotated[int | None, Parameter(help="only this seed: to see a run again")] = None,
    people: Annotated[int, Parameter(help="first logins per run")] = 400,
    clusters: Annotated[int, Parameter(help="clusters at once")] = 2,
    evidence: Annotated[Path, Parameter(help="where failed runs leave what is known of them")] = Path(".faults"),
    listed: Annotated[bool, Parameter(name="--list", negative="", help="name the cells, run none")] = False,
    mutants: Annotated[
        bool, Parameter(negative="", help="break the roles on purpose: is each way found?")
    ] = False,
) -> int:
    """Run every fault on every target, so many seeds each, and write docs/faults.md.

    Results are added to docs/faults.jsonl as they come. What is there already is not run again, unless an earlier
    harness has run it: then the new result takes the old one's place.
    """
    chosen = [one for one in cells() if cell in one.name]
    if listed:
        Console(highlight=False, soft_wrap=True).print("\n".join(one.name for one in chosen))
        return 0
    if mutants:
        are_found = _run(hunt_mutants(Console(highlight=False, soft_wrap=True).print))
        write_report(read_results(RESULTS), read_hunts(), REPORT)
        return 0 if are_found else 1
    wanted = range(seeds) if seed is None else range(seed, seed + 1)
    done = [] if seed is not None else [one for one in read_results(RESULTS) if one.harness == HARNESS]
    known = {(one.cell, one.seed) for one in done}
    work = {one: todo for one in chosen if (todo := [n for n in wanted if (one.name, n) not in known])}
    gc.freeze()
    gc.set_threshold(_RARELY)
    matrix = Matrix(people, evidence, record=seed is None and people == 400)
    _run(matrix.run(work, clusters))
    results = read_results(RESULTS)
    write_report(results, read_hunts(), REPORT)
    violated, late = sum(bool(one.violations) for one in results), sum(one.is_late for one in results)
    Console(highlight=False).print(f"{REPORT}: {len(results)} runs, {violated} with a violation, {late} late")
    return 1 if matrix.failed else 0


def _run(work: Coroutine[Any, Any, object]) -> object:
    """Run this; Ctrl-C or SIGTERM stops it and leaves no process, mount or folder behind."""

    async def until_told() -> object:
        working = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, working.cancel)
        return await working

    try:
        return uvloop.run(until_told())
    except asyncio.CancelledError:
        sys.exit("stopped; what was found until now is kept, and the same command goes on from there")


class Matrix:
    """Runs cells, each on a cluster of its own, which is as old as the runs before it."""

    def __init__(self, people: int, evidence: Path, *, record: bool) -> None:
        self._people = people
        self._evidence = evidence
        self._record = record
        self._console = Console(highlight=False, soft_wrap=True)
        self.failed = False

    async def run(self, work: dict[Cell, list[int]], clusters: int) -> None:
        """Run all, so many clusters at once, with a progress bar."""
        queue = list(work.items())
        random.Random(0).shuffle(queue)  # so that what waits and what works is under way at once
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times, console=self._console
        ) as progress:
            bar = progress.add_task("runs", total=sum(map(len, work.values())))

            async def work_off() -> None:
                while queue:
                    await self._run_cell(*queue.pop(), progress, bar)

            await asyncio.gather(*(work_off() for _ in range(clusters)))

    async def _run_cell(self, cell: Cell, seeds: Iterable[int], progress: Progress, bar: TaskID) -> None:
        left = list(seeds)
        while left:
            folder = Path(tempfile.mkdtemp(prefix="earlybird-faults-"))
            try:
                async with running_cluster(folder / "data", cell.options) as cluster:
                    while left:
                        is_fit = await self._run_seed(cluster, cell, left.pop(0))
                        progress.advance(bar)
                        if not is_fit:
                            break
                    progress.refresh()
            except StackError as error:  # nor would it start for the others
                self.failed = True
                self._console.print(f"[red]{cell.name}[/red]: {error}")
                left.clear()
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    async def _run_seed(self, cluster: Cluster, cell: Cell, seed: int) -> bool:
        """Run one; say whether the cluster is fit for another."""
        run, result = Run(cell, seed, self._people), None
        try:
            async with asyncio.timeout(_RUN_SECONDS):
                result = await run.carry_out(cluster)
        except NotReached as error:
            problem = str(error)
        except Exception:  # noqa: BLE001  # whatever it is, the matrix goes on with another cluster
            problem = traceback.format_exc()
        if result is not None:
            self._note(result)
            if not result.violations and not result.incomplete:
                return not cell.misdates
            problem = (*result.violations, *result.incomplete)[0]
        self.failed = True
        self._console.print(f"[red]{cell.name}, seed {seed}[/red]: {problem}")
        self._console.print(f"  kept in {await keep_evidence(self._evidence, run, result, cluster)}")
        return False

    def _note(self, result: Result) -> None:
        recovery = "not" if result.recovery_seconds is None else f"in {result.recovery_seconds:.1f} s"
        self._console.print(
            f"{result.cell}, seed {result.seed}: {result.acknowledged} acknowledged, {result.unknown} unknown, "
            f"{result.during} during the fault of {result.fault_seconds:.1f} s, "
            f"recovered {recovery}, {result.run_seconds:.1f} s in all"
        )
        if self._record:
            record_result(result, RESULTS)


if __name__ == "__main__":
    sys.exit(app())
