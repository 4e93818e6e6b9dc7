"""`make installed`: the wheel in empty environments, as somebody who has only the wheel would use it.

It downloads the servers again, for a minute or two, so `make test` has a sample alone (test_wheel.py).
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from rich.console import Console

from free_ports import free_port
from installed.wheel import build_wheel
from journey.stack_client import ENVIRONMENT, RunningStack, attempt, run, running_stack
from journey.test_first_run import script

_INSTALL_SECONDS, _FIRST_START_SECONDS = 900, 90


def said(line: str) -> None:
    """Print what was found, for whoever waits."""
    Console(highlight=False, markup=False, soft_wrap=True).print(line)


async def use(stack: RunningStack) -> None:
    """Paste the four printed commands: register, log in, see the voucher, spend it."""
    answers = (await run(["bash", "-c", script(stack.output)])).splitlines()
    assert json.loads(answers[2])["voucher"]["discount"] == 30, answers
    assert json.loads(answers[3])["redemption"]["payable_amount"] == 70_000, answers


async def new_environment(folder: Path, requirement: str) -> Path:
    """Install into a new virtual environment by pip; return its folder of programs."""
    await run([sys.executable, "-m", "venv", folder])
    pip = folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"
    await run([*pip, "install", "--no-cache-dir", requirement], within_seconds=_INSTALL_SECONDS)
    return folder / "bin"


async def runs(what: str, folder: Path, began: float, *program: str | Path) -> None:
    """Run `up` in an empty folder, and use it."""
    folder.mkdir()
    async with running_stack(folder, program) as stack:
        said(f"{what}: running {time.monotonic() - began:.0f} s after nothing was installed")
        await use(stack)
        audit = await run([*program, "audit", "--data-dir", stack.data_dir])
        assert "Audit passed" in audit, audit


async def without_the_servers(wheel: Path, folder: Path, local: Path) -> None:
    """Production: every command but `up` works, which says what to install."""
    began = time.monotonic()
    programs = await new_environment(folder / "production", str(wheel))
    earlybird = programs / "earlybird"
    said(f"pip install, without the servers: {time.monotonic() - began:.0f} s")
    assert "migrate" in await run([earlybird, "--help"])
    for options in ([], ["--verify", "email"]):
        code, answer = await attempt([earlybird, "up", "--data-dir", folder / "none", *options])
        assert code == 1, answer
        assert "pip install 'earlybird[local]'" in answer, answer
    (folder / "servers").mkdir()
    async with running_stack(folder / "servers", [local]) as stack:
        said((await run([earlybird, "migrate", "--data-dir", stack.data_dir])).strip())
        await serves(earlybird, stack, folder)


async def serves(earlybird: Path, stack: RunningStack, folder: Path) -> None:
    """Run all roles that need a database in one process, on the servers of a stack."""
    ports = {role: free_port() for role in ("identity", "promotions", "relay", "granter")}
    addresses = {
        f"EARLYBIRD_{name.upper()}": stack.file[name] for name in ("mongodb_uri", "nats_url", "valkey_url")
    }
    own = {f"EARLYBIRD_{role.upper()}_PORT": str(port) for role, port in ports.items()}
    keys = {"EARLYBIRD_SIGNING_KEY_FOLDER": str(stack.data_dir / "signing-keys")}
    with (folder / "serve.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            earlybird, "serve", *ports, env=ENVIRONMENT | addresses | own | keys, stdout=log, stderr=log
        )
    try:
        async with httpx2.AsyncClient(trust_env=False) as http:
            await until_ready(http, f"http://127.0.0.1:{ports['identity']}/readyz", process)
    finally:
        process.terminate()
        assert await process.wait() == 0, (folder / "serve.log").read_text()
    said("serve: ready, and stopped in order")


async def until_ready(http: httpx2.AsyncClient, url: str, process: asyncio.subprocess.Process) -> None:
    """Wait until the address answers 200."""
    async with asyncio.timeout(_FIRST_START_SECONDS):
        while process.returncode is None:
            try:
                if (await http.get(url)).status_code == 200:
                    return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError("serve has ended")


async def with_tools(requirement: str, folder: Path) -> None:
    """Run it by uvx and pipx, where they are installed, each with an empty cache."""
    ways = {"uvx": ["--from", requirement, "earlybird"], "pipx": ["run", "--spec", requirement, "earlybird"]}
    for tool, arguments in ways.items():
        if program := shutil.which(tool):
            ENVIRONMENT.update({"UV_CACHE_DIR": str(folder / "uv"), "PIPX_HOME": str(folder / "pipx")})
            began = time.monotonic()
            await run([program, *arguments, "--version"], within_seconds=_INSTALL_SECONDS)
            await runs(tool, folder / f"by-{tool}", began, program, *arguments)
        else:
            said(f"{tool}: not installed here, left out")


async def main() -> None:
    """Try every way, and say how long each took from nothing to running."""
    with tempfile.TemporaryDirectory(prefix="earlybird-installed-") as name:
        folder = Path(name)
        os.chdir(folder)  # an empty folder: nothing of the source is near
        ENVIRONMENT.pop("PYTHONPATH", None)
        wheel = build_wheel(folder / "dist")
        requirement = f"{wheel}[local]"
        began = time.monotonic()
        earlybird = await new_environment(folder / "local", requirement) / "earlybird"
        await runs("pip install, with the servers", folder / "by-pip", began, earlybird)
        await without_the_servers(wheel, folder, earlybird)
        await with_tools(requirement, folder)


if __name__ == "__main__":
    asyncio.run(main())
