"""A page of docs/ as something to run, in the way that its first lines promise to the reader.

- A block marked `bash` is run. All blocks of a page run in one shell, in order, and each must succeed.
- A block marked `json` or `text` right after it is what it prints. `…` stands for what differs: a value, a part of
  a line, or any number of lines. Everything else must be there as it stands.
- A block marked with `title="…"` is a file that the reader makes.

A block that is one `curl` without `-d` or `-X` reads only. It is run again until it prints what the page shows,
because a voucher comes a moment after the login.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
ADDRESS = "http://127.0.0.1:8080"  # that of `make run`
ANY = "…"
_FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_END = "\x1e"  # ASCII's record separator: no command prints it
_PATIENCE_SECONDS, _BLOCK_SECONDS = 30, 90


@dataclass(frozen=True)
class Block:
    """What a reader does: run `text`, or put it into `file`. `shown` is what the page says that it prints."""

    text: str
    file: str | None = None
    shown: str | None = None
    is_json: bool = False

    @property
    def only_reads(self) -> bool:
        return self.text.startswith("curl ") and not re.search(r" -[dX] |\n(?=.)(?<!\\\n)", self.text)

    def misfit(self, printed: str) -> str | None:
        """Say where what was printed differs from what the page shows; None if nowhere."""
        if self.shown is None:
            return None
        if not self.is_json:
            wanted, found = self.shown.splitlines(), [line.strip() for line in printed.splitlines()]
            return None if fits([line.strip() for line in wanted], found) else f"the page shows:\n{self.shown}"
        try:
            return difference(json.loads(self.shown), json.loads(printed))
        except ValueError:
            return "no JSON was printed"


def blocks(page: str) -> list[Block]:
    """Give what a reader of this text does. Fails for a block that is neither run, nor shown, nor a picture."""
    found: list[Block] = []
    for language, file, text in _FENCE.findall(page):
        if file:
            found.append(Block(text, file))
        elif language == "bash":
            found.append(Block(text))
        elif language in {"json", "text"} and found and found[-1].file is None and found[-1].shown is None:
            found[-1] = Block(found[-1].text, shown=text, is_json=language == "json")
        else:
            assert language == "mermaid", f"nobody would run this block of the page:\n{text}"
    return found


def fits(wanted: list[str], found: list[str]) -> bool:
    """Whether lines are as they should be; a wanted line `…` is any number of lines."""
    if not wanted:
        return not found
    first, *rest = wanted
    if first == ANY:
        return any(fits(rest, found[skipped:]) for skipped in range(len(found) + 1))
    return bool(found) and text_fits(first, found[0]) and fits(rest, found[1:])


def text_fits(wanted: str, found: str) -> bool:
    return re.fullmatch(".+".join(map(re.escape, wanted.split(ANY))), found, re.DOTALL) is not None


def difference(wanted: Any, found: Any, where: str = "") -> str | None:
    """Say where JSON differs from what it should be; None if nowhere. Each field must be there, and no other."""
    if wanted == ANY:
        return None if found is not None else f"{where}: there is nothing"
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            return f"{where}: the fields are {', '.join(found)}"
        parts = (difference(one, found[name], f"{where}.{name}") for name, one in wanted.items())
        return next(filter(None, parts), None)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        parts = (
            difference(one, other, f"{where}[{n}]")
            for n, (one, other) in enumerate(zip(wanted, found, strict=True))
        )
        return next(filter(None, parts), None)
    same = text_fits(wanted, found) if isinstance(wanted, str) and isinstance(found, str) else wanted == found
    return None if same and type(wanted) is type(found) else f"{where}: {found!r} in place of {wanted!r}"


class Shell:
    """A bash that stays: what one block sets, the next one sees."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, text: str) -> str:
        """Run a block; give what it printed. Fails if a command in it fails."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{text}\nprintf '{_END}'\n".encode())
        await self._process.stdin.drain()
        try:
            async with asyncio.timeout(_BLOCK_SECONDS):
                printed = await self._process.stdout.readuntil(_END.encode())
        except asyncio.IncompleteReadError as ended:
            raise AssertionError(f"a command failed:\n{text}\n{ended.partial.decode()}") from None
        return printed.decode().removesuffix(_END)


@asynccontextmanager
async def shell(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Shell]:
    """Run a bash in a folder, which ends with the first command that fails."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "--noprofile", "--norc", "-euo", "pipefail"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=folder,
        limit=2**20,
    )
    try:
        yield Shell(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def follow(page: str, folder: Path, environment: Mapping[str, str], address: str) -> int:
    """Do what a page says, with a stack at this address; give the number of blocks that were run."""
    run = 0
    async with shell(folder, environment) as bash:
        for block in blocks(page.replace(ADDRESS, address)):
            if block.file:
                (folder / block.file).write_text(block.text)
                continue
            printed = await _run_until_it_fits(bash, block)
            misfit = block.misfit(printed)
            assert misfit is None, f"{block.text}\nprinted:\n{printed}\n{misfit}"
            run += 1
    return run


async def _run_until_it_fits(bash: Shell, block: Block) -> str:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        printed = await bash.run(block.text)
        late = asyncio.get_running_loop().time() > deadline
        if late or not block.only_reads or block.misfit(printed) is None:
            return printed
