"""The wheel carries all that the program reads, and asks for what it imports. `make installed` installs it too."""

import re
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from installed.wheel import ROOT, build_wheel

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (file,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(file))


def test_it_has_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    files = [file for file in (ROOT / "src" / "earlybird").rglob("*") if file.is_file()]
    source = {
        file.relative_to(ROOT / "src").as_posix(): file.read_bytes() for file in files if file.suffix != ".pyc"
    }
    assert {Path(name).suffix for name in source} >= {".py", ".html", ".css", ".js", ".txt", ".json", ".typed"}
    packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == source


def test_it_asks_for_the_local_servers_under_the_extra_alone(metadata: Message) -> None:
    asked = {
        re.split(r"[^\w.-]", line, maxsplit=1)[0]: "extra == 'local'" in line
        for line in metadata.get_all("Requires-Dist", [])
    }
    assert {name for name, is_local in asked.items() if is_local} == {
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in PROJECT["optional-dependencies"]["local"]
    }
    assert {name for name, is_local in asked.items() if not is_local} == {
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in PROJECT["dependencies"]
    }


def test_it_has_the_version_of_the_changelog(metadata: Message) -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert metadata["Version"] == newest[1]
