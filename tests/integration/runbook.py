"""docs/runbook.md as something to run: the commands of a section, and what they print there."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from bson import json_util
from bson.binary import UuidRepresentation

from earlybird.infra.mongo import connect_mongo
from earlybird.settings import Settings

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
UUIDS = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SHELL = re.compile(r'db\.getSiblingDB\("(\w+)"\)\.(\w+)\.(\w+)One\((.*)\)\n')


@dataclass(frozen=True)
class Step:
    """A command of the runbook, and what it prints there."""

    command: str
    printed: list[str]

    async def run(self, settings: Settings, folder: Path, voucher: str = "") -> str:
        """Do what stands there (to this voucher, where one stands), expect what stands there; give the output."""
        if shell := SHELL.fullmatch(self.command):
            await in_shell(settings, shell, voucher)
            return ""
        code, output = await run(self.command, settings, folder)
        lines = map(without_numbers, output.splitlines())
        missing = [line for line in self.printed if without_numbers(line) not in lines]  # in this order
        assert (missing, code) == ([], int(self.printed[-1].startswith("earlybird:"))), f"{self.command}\n{output}"
        return output


def steps(section: str) -> list[Step]:
    """Give the commands of a section of the runbook."""
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    found = []
    for language, block in re.findall(r"^```(console|js)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for step in [block] if language == "js" else re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = [step] if language == "js" else step.splitlines()
            found.append(Step(command, printed))
    return found


def without_numbers(line: str) -> str:
    return re.sub(r"\d[\d,]*", "0", re.sub(UUIDS, "0", line))


async def run(command: str, settings: Settings, folder: Path) -> tuple[int, str]:
    """Run one command of the runbook; give its exit code and what it printed."""
    program, *words = command.split()
    assert program == "earlybird"
    environment = os.environ | {
        "EARLYBIRD_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "EARLYBIRD_NATS_URL": settings.nats_url.get_secret_value(),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "earlybird", *words),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def in_shell(settings: Settings, line: re.Match[str], voucher: str) -> None:
    """Do what a line for the MongoDB shell says, to this voucher where one stands."""
    database, collection, verb, words = line.groups()
    words = re.sub(rf'UUID\("{UUIDS}"\)', f'{{"$uuid": "{voucher}"}}', words)
    words = re.sub(r"([$\w]+): ", r'"\1": ', words)
    options = json_util.JSONOptions(uuid_representation=UuidRepresentation.STANDARD)
    async with connect_mongo(settings, "test") as client:
        method = getattr(client[database][collection], f"{verb}_one")
        await method(*json_util.loads(f"[{words}]", json_options=options))
