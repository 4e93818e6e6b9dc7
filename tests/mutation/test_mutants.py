"""A sample of the mutants, those of granting: each is noticed by a test.

`make mutants` makes all of them. The sample runs in a copy, so that it leaves nothing behind.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = ("earlybird.promotions.granting.award.*",)
FILES = ["promotions/granting/award.py"]
TESTS = ["test_asyncapi", "test_award", "test_campaign_rules", "test_messages", "test_shown"]
COPIED = ("src", "tests", "docs", "ARCHITECTURE.md", "pyproject.toml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the mutation tester reads."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def mutants(folder: Path) -> tuple[int, str]:
    """Make the sample's mutants in a folder; return the exit status and what was said."""
    configuration = folder / "pyproject.toml"
    text = configuration.read_text()
    for name, chosen in (
        ("only_mutate", [f"src/earlybird/{name}" for name in FILES]),
        ("pytest_add_cli_args_test_selection", [f"tests/unit/{name}.py" for name in TESTS]),
    ):
        text, found = re.subn(rf"(?<={name} = )\[[^]]*\]", json.dumps(chosen), text)
        assert found == 1
    configuration.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(folder / "tests"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "mutation", "--workers", "1", *SAMPLE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_every_mutant_of_the_sample_is_noticed_but_those_whose_test_is_taken_away(copy: Path) -> None:
    """Without the second half the first would prove nothing."""
    file = copy / "tests" / "unit" / "test_messages.py"
    text = file.read_text()
    assert "def test_a_gap_is_named_by_its_neighbours" in text
    file.write_text(text.replace("def test_a_gap_is_named", "def left_out_a_gap_is_named"))
    status, said = mutants(copy)
    assert status == 1, said[-3000:]
    assert "earlybird.promotions.granting.award.x_next_in_order\n    - raise Gap(" in said
    survivors = [line for line in said.splitlines() if re.match(r"earlybird\.\S+\.x", line)]
    assert set(survivors) == {"earlybird.promotions.granting.award.x_next_in_order"}, said


_BY_ID = """
import sys, pytest

class Ids:
    def pytest_collection_finish(self, session):
        self.found = [item.nodeid for item in session.items]

ids, options = Ids(), ["--collect-only", "-qq", "-p", "no:cacheprovider"]
assert pytest.main([*options, *sys.argv[1:]], plugins=[ids]) == 0
sys.exit(pytest.main([*options, *ids.found]))
"""


def test_every_test_can_be_run_by_its_id() -> None:
    """A mutant's tests are run by their ids, in the process that has collected them.

    If pytest cannot find one again, every mutant whose test it is passes for noticed.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    command = [sys.executable, "-c", _BY_ID, *settings["pytest_add_cli_args_test_selection"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
