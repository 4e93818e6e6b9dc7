"""The source of the version before, and of this one, each in a folder of its own."""

import io
import re
import shutil
import subprocess
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "upgrading.md"
SERVICES = ("identity", "promotions")
_RELEASE = re.compile(r"^\| (\d+\.\d+\.\d+) \| `([0-9a-f]{40})` \| `(m\w+)` \| `(m\w+)` \|$", re.MULTILINE)
# An expansion as this version might have one: a field that the version before does not know, on all that is kept.
_TRIAL = """

async def m999_trial(database: Database) -> None:
    for name in {collections}:
        await database[name].update_many({{}}, {{"$set": {{"trial": 1}}}})
        await database[name].create_indexes([IndexModel("trial", name="trial")])


MIGRATIONS = (*MIGRATIONS, m999_trial)
"""
_GROWN = {
    "identity": ("users", "ledger"),
    "promotions": ("campaigns", "vouchers", "redemptions", "places", "cursor"),
}


class NoHistory(Exception):
    """This copy of the repository lacks the commit of the version before."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version that went out, and the last migration of each service that it had."""

    version: str
    commit: str
    last: dict[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """A version's name, and the folder with its package."""

    name: str
    source: Path


def releases() -> list[Release]:
    """Read the releases that docs/upgrading.md lists, the newest first."""
    found = _RELEASE.findall(PAGE.read_text())
    return [Release(version, commit, dict(zip(SERVICES, last, strict=True))) for version, commit, *last in found]


def present() -> str:
    """Return the version of this source."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def before() -> Release:
    """Return the release before this version."""
    return next(release for release in releases() if release.version != present())


def version_before(folder: Path) -> Version:
    """Take the version before out of the history. Raises NoHistory."""
    release = before()
    command = [shutil.which("git") or "git", "archive", "--format=zip", release.commit, "src"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if git.returncode:
        raise NoHistory(f"version {release.version} is not in the history: {git.stderr.decode().strip()}")
    with zipfile.ZipFile(io.BytesIO(git.stdout)) as archive:
        archive.extractall(folder)
    return Version(release.version, folder / "src")


def this_version(folder: Path) -> tuple[Version, bool]:
    """Copy this version. Where it has no new migration, the copy gets one; tell whether it did."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    last, tried = before().last, False
    files = {service: folder / "src" / "earlybird" / service / "migrations.py" for service in SERVICES}
    if all(_last_migration(file) == last[service] for service, file in files.items()):
        tried = True
        for service, file in files.items():
            with file.open("a") as end:
                end.write(_TRIAL.format(collections=_GROWN[service]))
    return Version(present(), folder / "src"), tried


def _last_migration(file: Path) -> str:
    names: list[str] = re.findall(r"^async def (m\d+_\w+)", file.read_text(), re.MULTILINE)
    return names[-1]
