"""Mutants that no test kills: those found, and those known with the reason why nobody could see them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import walk_mutatable_files

FILE = Path(__file__).parent / "survivors.json"
_NO_TESTS = 33  # as mutmut notes it


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant by what it changes, and not by its number, which any change of the file may shift."""

    function: str
    code: str
    mutant: str

    def __str__(self) -> str:
        return f"{self.function}\n    - {self.code}\n    + {self.mutant}"


def known_survivors() -> Mapping[Survivor, str]:
    """Return the known survivors, each with its reason."""
    return {
        Survivor(function, code, mutant): reason
        for reason, changes in json.loads(FILE.read_text()).items()
        for function, code, mutant in changes
    }


def found_survivors(only: Sequence[str]) -> tuple[list[Survivor], int, set[str]]:
    """Return the survivors of the last run, how many mutants there were, and the functions that no test
    reaches."""
    found, made, untested = [], 0, set[str]()
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, exit_code in data.exit_code_by_key.items():
            if only and not any(fnmatch(name, pattern) for pattern in only):
                continue
            made += 1
            function = name.partition("__mutmut_")[0]
            if exit_code == _NO_TESTS:
                untested.add(function)
            elif exit_code == 0:
                found.append(_survivor(function, get_diff_for_mutant(name)))
    return found, made, untested


def _survivor(function: str, diff: str) -> Survivor:
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    code, mutant = (" ".join(line[1:].strip() for line in lines if line.startswith(mark)) for mark in "-+")
    return Survivor(function, code, mutant)
