"""docs/faults.jsonl: what each run of the matrix came to, a line for each."""

import json
from dataclasses import asdict
from pathlib import Path

from faults.run import Result


def read_results(file: Path) -> list[Result]:
    """Read what is known; nothing if there is no such file."""
    if not file.exists():
        return []
    return [Result(**json.loads(line)) for line in file.read_text().splitlines()]


def record_result(result: Result, file: Path) -> None:
    """Add it to what is known, in the place of an earlier one of the same run."""
    others = [one for one in read_results(file) if (one.cell, one.seed) != (result.cell, result.seed)]
    new = file.with_suffix(".new")
    new.write_text("".join(json.dumps(asdict(one)) + "\n" for one in [*others, result]))
    new.replace(file)
