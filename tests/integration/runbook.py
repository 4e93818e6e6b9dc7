"""docs/runbook.md and docs/disaster.md as something to run: the commands, and what they print there."""

import asyncio
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from bson import json_util
from bson.binary import UuidRepresentation

from earlybird.infra.mongo import connect_mongo
from earlybird.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
RUNBOOK, DISASTER = DOCS / "runbook.md", DOCS / "disaster.md"
UUIDS = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NAMED = rf"{UUIDS}|(?<=keys retire )\S+"  # what an operator puts in its place: an id, a key
SHELL = re.compile(r'db\.getSiblingDB\("(\w+)"\)\.(\w+)\.(\w+)One\((.*)\)\n')


@dataclass(frozen=True)
class Step:
    """A command of the runbook, and what it prints there."""

    command: str
    printed: list[str]

    async def run(self, settings: Settings, folder: Path, named: str = "") -> str:
        """Do what stands there, to this id or key where one stands; expect what stands there; give the output."""
        if shell := SHELL.fullmatch(self.command):
            await in_shell(settings, shell, named)
            return ""
        code, output = await run(re.sub(NAMED, named or r"\g<0>", self.command), settings, folder)
        lines = map(without_numbers, output.splitlines())
        missing = [line for line in self.printed if without_numbers(line) not in lines]  # in this order
        fails = bool(self.printed) and self.printed[-1].startswith("earlybird:")
        assert (missing, code) == ([], int(fails)), f"{self.command}\n{output}"
        return output


def steps(section: str, page: Path = RUNBOOK) -> list[Step]:
    """Give the commands of a section of the page, up to the next heading."""
    [text] = re.findall(rf"^##+ {section}\n(.*?)(?=^##+ |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    found = []
    for language, block in re.findall(r"^```(console|js)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for step in [block] if language == "js" else re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *printed = [step] if language == "js" else step.splitlines()
            found.append(Step(command, printed))
    return found


def without_numbers(line: str) -> str:
    return re.sub(r"\d[\d,]*", "0", re.sub(UUIDS, "0", line))


async def run(command: str, settings: Settings, folder: Path) -> tuple[int, str]:
    """Run one command of a page, of ours or of the shell's; give its exit code and what it printed."""
    keys = settings.signing_key_folder
    program, *words = shlex.split(command.replace("$EARLYBIRD_SIGNING_KEY_FOLDER", str(keys)))
    assert program in {"earlybird", "cp", "mv", "rm"}
    environment = os.environ | {
        "EARLYBIRD_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "EARLYBIRD_NATS_URL": settings.nats_url.get_secret_value(),
        "EARLYBIRD_VALKEY_URL": settings.valkey_url.get_secret_value(),
        "EARLYBIRD_SIGNING_KEY_FOLDER": str(keys),
        "COLUMNS": "200",
    }
    ours = [sys.executable, "-m", "earlybird"] if program == "earlybird" else [program]
    process = await asyncio.create_subprocess_exec(
        *(*ours, *words),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def in_shell(settings: Settings, line: re.Match[str], named: str) -> None:
    """Do what a line for the MongoDB shell says, to this id where one stands."""
    database, collection, verb, words = line.groups()
    words = re.sub(rf'UUID\("{UUIDS}"\)', f'{{"$uuid": "{named}"}}', words)
    words = re.sub(r"([$\w]+): ", r'"\1": ', words)
    options = json_util.JSONOptions(uuid_representation=UuidRepresentation.STANDARD)
    async with connect_mongo(settings, "test") as client:
        method = getattr(client[database][collection], f"{verb}_one")
        await method(*json_util.loads(f"[{words}]", json_options=options))
