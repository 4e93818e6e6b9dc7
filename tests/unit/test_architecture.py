"""ARCHITECTURE.md is true: its map names every folder and file, its contracts' floors, and code that exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "earlybird"
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
PAGES = [
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
_WIDTH = 2  # spaces by which the map indents a folder in a folder


def drawn_map() -> dict[str, set[str]]:
    """Return the files that ARCHITECTURE.md's map names, by folder ("" is the package itself).

    A line of the map is `folder/  file · file  what it is`: two spaces or more end a column.
    """
    block = re.search(r"^src/earlybird/\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block, "ARCHITECTURE.md has a map that begins with src/earlybird/"
    found: dict[str, set[str]] = {}
    path: list[str] = []
    for line in block[1].splitlines():
        indent = (len(line) - len(line.lstrip())) // _WIDTH
        folder, files = re.match(r"\s*(?:([a-z_]+)/\s*)?([a-z_]+(?: · [a-z_]+)*)?(?:\s{2,}|$)", line).groups()  # type: ignore[union-attr]
        if folder:
            path = [*path[: indent - 1], folder]
        where = "/".join(path) if folder or indent > 1 else ""
        found.setdefault(where, set()).update(files.split(" · ") if files else [])
    return found


def real_map() -> dict[str, set[str]]:
    """Return the files that there are, by folder; a folder's `__init__.py` is the folder itself."""
    found: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        folder = file.parent.relative_to(SOURCE).as_posix().removeprefix(".")
        found.setdefault(folder, set()).update({file.stem} - {"__init__", "__main__"})
    return found


def test_the_map_names_every_folder_and_file_and_no_other() -> None:
    assert drawn_map() == real_map()


def members() -> set[str]:
    """Return `Class.member` for every class, and `module.function` for every module."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        module = file.stem if file.stem != "__init__" else file.parent.name
        tree = ast.parse(file.read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{part}" for part in _names(node)}
        found |= {f"{module}.{name}" for name in _names(tree)}
    return found


def _names(node: ast.Module | ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_every_step_of_the_walks_exists() -> None:
    steps = re.findall(
        r"`([A-Za-z_]+\.[A-Za-z_.]+)`", "\n".join(line for line in PAGE.splitlines() if "→" in line)
    )
    assert len(steps) > 10
    known = members()
    assert [step for step in steps if ".".join(step.split(".")[-2:]) not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_or_names_exists(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    files = re.findall(r"`((?:src|tests|bench|docs)/[A-Za-z0-9_./-]+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file.split("::")[0]).exists()]
    assert missing == []
