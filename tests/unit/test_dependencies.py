"""What is installed where: the locks agree, and production needs nothing of the local stack."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# The one module that needs the extra: the mailbox of the local stack, which is a process of its own.
NEEDS_THE_EXTRA = {"stack/mailbox.py": {"aiosmtpd"}}


def names(requirements: Iterable[str]) -> set[str]:
    """Return the names of packages, each in its normal form (PEP 503)."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line, maxsplit=1)[0]).lower() for line in requirements}


def locked(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_each_lock_has_the_versions_of_the_others(lock: str) -> None:
    everything = locked("requirements.lock")
    assert {
        name: version for name, version in locked(lock).items() if everything.get(name, version) != version
    } == {}


def test_the_lock_of_production_has_what_is_needed_and_no_local_server_nor_build_tool() -> None:
    production = set(locked("requirements-production.lock"))
    assert names(PROJECT["dependencies"]) <= production
    local = names(PROJECT["optional-dependencies"]["local"])
    assert local <= set(locked("requirements.lock"))
    assert production & (local | {"hatchling", "editables"}) == set()


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


def test_nothing_is_imported_that_a_plain_installation_lacks() -> None:
    distributions = packages_distributions()
    needed = names(PROJECT["dependencies"])
    beyond: dict[str, set[str]] = {}
    for file in (ROOT / "src" / "earlybird").rglob("*.py"):
        own = set(imports(file.read_text())) - sys.stdlib_module_names - {"earlybird"}
        if lacking := {module for module in own if not names(distributions.get(module, [module])) & needed}:
            beyond[file.relative_to(ROOT / "src" / "earlybird").as_posix()] = lacking
    assert beyond == NEEDS_THE_EXTRA
