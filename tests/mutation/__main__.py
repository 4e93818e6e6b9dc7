"""`make mutants`: make every mutant, run its tests, and compare the survivors with those that are known."""

import sys
from pathlib import Path
from shutil import rmtree
from typing import Annotated

from cyclopts import App, Parameter
from mutmut import __main__ as mutmut

from mutation.operators import add_operators
from mutation.survivors import FILE, found_survivors, known_survivors

app = App(name="make mutants", help="Change the code that decides, one place at a time: does a test notice?")


@app.default
def mutants(
    *only: Annotated[str, Parameter(help="names, such as 'earlybird.promotions.granting.award.*'")],
    workers: Annotated[int | None, Parameter(help="mutants at once; one for each core if not given")] = None,
    fresh: Annotated[bool, Parameter(negative="", help="forget what was found before")] = False,
) -> int:
    """Make mutants of all that decides (`[tool.mutmut]` in pyproject.toml), and fail if an unknown one survives.

    Without names it goes on where it stopped. A mutant is a change of one place; `-` is the code, `+` the mutant.
    """
    if fresh:
        rmtree("mutants", ignore_errors=True)
    add_operators()
    mutmut._run(only, workers)
    found, made, untested = found_survivors(only)
    known = known_survivors()
    new = [one for one in found if one not in known]
    gone = [] if only else [one for one in known if one not in found]
    tell(f"\n{made} mutants made, {made - len(found)} killed, {len(found) - len(new)} survive for a known reason")
    for title, survivors in (
        (f"{len(new)} survive, and no test says why: write one, or give the reason in {FILE.name}", new),
        (f"{len(gone)} are in {FILE.name} and do not survive: take them out", gone),
    ):
        if survivors:
            tell(f"\n{title}\n" + "\n".join(map(str, survivors)))
    if untested:
        tell("\nNo test reaches " + ", ".join(sorted(untested)))
    return 1 if new or gone or untested else 0


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    assert Path("pyproject.toml").exists(), "run it by `make mutants`, in the project's folder"
    sys.exit(app())
