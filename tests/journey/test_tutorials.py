"""Every command of the quick start and of the tutorials works as it stands there, and prints what stands there."""

import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from earlybird.errors import HTTP_STATUS
from earlybird.infra.mongo import Client
from journey.curl import stand_in_for_curl
from journey.records import DESCRIPTION, close_campaigns
from journey.stack_client import ENVIRONMENT, RunningStack, attempt, earlybird, running_stack
from journey.tutorials import ADDRESS, DOCS, blocks, follow
from scans import no_role_scans

ROOT = DOCS.parent
START = DOCS / "quick-start.md"
PAGES = [START, *sorted((DOCS / "tutorials").glob("*.md"))]


@pytest.fixture
async def folder(stack: RunningStack, mongo: Client, tmp_path: Path) -> Path:
    """A folder like that of somebody who runs `make run` in it. Its stack is the one that all tests share."""
    (tmp_path / ".earlybird").symlink_to(stack.data_dir)
    for name in ("examples", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, words in {"earlybird": "-m earlybird", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    await close_campaigns(mongo)
    terms = "--name", "Launch", "--discount", "30", "--number", "100", "--description", DESCRIPTION, "--open"
    await earlybird(stack, "campaign", "create", *terms)
    return tmp_path


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningStack]:
    """A stack of their own: the pages' people have fixed names, and other tests may have them too."""
    async with (
        running_stack(tmp_path_factory.mktemp("stack")) as stack,
        no_role_scans(stack.file["mongodb_uri"]),
    ):
        yield stack


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / '.venv' / 'bin'}:{ENVIRONMENT['PATH']}"
    if not shutil.which("curl"):
        path = f"{stand_in_for_curl(folder)}:{path}"
    return ENVIRONMENT | {"PATH": path, "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page.stem == "launch-a-campaign" else []) for page in PAGES],
    ids=lambda page: page.stem,
)
async def test_a_reader_who_follows_the_page_gets_what_it_shows(
    stack: RunningStack, mongo: Client, folder: Path, environment: dict[str, str], page: Path
) -> None:
    text = page.read_text()
    if page == START:
        text = text.replace("```bash\nmake run\n```\n", "")  # the stack runs: see the next test
    assert await follow(text, folder, environment, stack.url) > 3
    await close_campaigns(mongo)


async def test_make_run_starts_a_stack_at_the_address_that_the_pages_name() -> None:
    assert blocks(START.read_text())[0].text == "make run\n"
    code, shown = await attempt(["make", "--no-print-directory", "--dry-run", "run", "ARGS="], ROOT)
    assert (code, shown.strip().splitlines()[-1].split()) == (0, ["exec", ".venv/bin/earlybird", "up"])
    _, help_text = await attempt([sys.executable, "-m", "earlybird", "up", "--help"])
    assert f"[default: {ADDRESS.rpartition(':')[2]}]" in help_text


def test_the_codes_that_the_tutorials_name_are_those_of_the_code() -> None:
    rows = [line for page in PAGES for line in page.read_text().splitlines() if line.startswith("| `")]
    named = {code for row in rows for code in re.findall("`([a-z_]+)`", row.split("|")[1])}
    assert len(named) > 5
    assert named - HTTP_STATUS.keys() == set()


GOOD = "```bash\necho one 7 two\n```\nIt prints\n```text\none … two\n```\n"


@pytest.mark.parametrize(
    "page",
    [
        "```bash\nno-such-command\n```\n",
        "```bash\nfalse\necho one\n```\n",
        "```bash\nfalse | cat\n```\n",
        "```bash\necho $UNSET\n```\n",
        GOOD.replace("one 7", "once 7"),
        GOOD.replace("two\n```\nIt", "two; echo more\n```\nIt"),
        '```bash\necho \'{"a": 1, "b": 2}\'\n```\n```json\n{"a": 1}\n```\n',
        '```bash\necho \'{"a": 1}\'\n```\n```json\n{"a": "1"}\n```\n',
        '```bash\necho \'{"a": null}\'\n```\n```json\n{"a": "…"}\n```\n',
        '```bash\necho \'{"a": [1]}\'\n```\n```json\n{"a": [1, 2]}\n```\n',
        "```bash\necho no JSON\n```\n```json\n{}\n```\n",
        "```text\nshown before anything is run\n```\n",
        "```console\n$ echo one\n```\n",
        "```\necho one\n```\n",
    ],
)
async def test_a_page_that_is_wrong_is_found_out(page: str, tmp_path: Path) -> None:
    assert await follow(GOOD, tmp_path, ENVIRONMENT, ADDRESS) == 1
    with pytest.raises(AssertionError):
        await follow(page, tmp_path, ENVIRONMENT, ADDRESS)
