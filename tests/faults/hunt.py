"""Runs each mutant on the cell that shows it, until it is found: can the harness fail?"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from faults.cluster import running_cluster
from faults.matrix import cells
from faults.mutants import MUTANTS
from faults.run import Run

FOUND = Path("docs/faults-mutants.jsonl")
_SEEDS = 10


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a mutant was found: in how many runs, by which violation; none if it was not."""

    mutant: str
    cell: str
    runs: int
    violation: str


async def hunt_mutants(say: Callable[[str], None]) -> bool:
    """Hunt each anew, and write down what came of it; say whether all were found."""
    FOUND.unlink(missing_ok=True)
    for name in MUTANTS:
        hunt = await _hunt(name)
        say(f"{name}: {hunt.violation or 'not found'} ({hunt.runs} runs)")
        _note(hunt)
    return all(hunt.violation for hunt in read_hunts())


async def _hunt(name: str) -> Hunt:
    mutant = MUTANTS[name]
    [cell] = [one for one in cells() if one.name == mutant.cell]
    for seed in range(_SEEDS):
        folder = Path(tempfile.mkdtemp(prefix="earlybird-faults-"))
        try:
            async with running_cluster(folder / "data", replace(cell.options, mutant=name)) as cluster:
                result = await Run(cell, seed).carry_out(cluster)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shown = [violation for violation in result.violations if re.match(mutant.violation, violation)]
        if shown:
            return Hunt(name, cell.name, seed + 1, shown[0])
    return Hunt(name, cell.name, _SEEDS, "")


def _note(hunt: Hunt) -> None:
    with FOUND.open("a") as file:
        file.write(json.dumps(asdict(hunt)) + "\n")


def read_hunts() -> list[Hunt]:
    """Read what is known; nothing if no mutant was ever hunted."""
    return [Hunt(**json.loads(line)) for line in FOUND.read_text().splitlines()] if FOUND.exists() else []
