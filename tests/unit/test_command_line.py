"""What a person types ends in a clear line, never in a traceback, and no number is rounded on the way in."""

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from cyclopts import App, Parameter
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from earlybird.cli.campaign import Terms
from earlybird.cli.main import app, main
from earlybird.cli.winners import _cell


def commands(of: App = app, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command's name and function, by asking the application for all of them."""
    for word in of:
        if not word.startswith("-"):
            found = of[word]
            if found.default_command is not None:
                yield f"{name} {word}".strip(), found.default_command
            yield from commands(found, f"{name} {word}".strip())


COMMANDS = dict(commands())


def numbers(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of a command that are whole numbers, with their annotations."""
    options = {name: one.annotation for name, one in inspect.signature(function, eval_str=True).parameters.items()}
    if any(Terms in (hint, *get_args(hint)) for hint in options.values()):
        options |= inspect.get_annotations(Terms, eval_str=True)
    for name, hint in options.items():
        if "int" in re.findall(r"\bint\b", str(hint)) and "Literal" not in str(hint):
            yield name, hint


def test_all_commands_are_tried() -> None:
    assert {"up", "demo", "audit", "campaign create", "campaign edit", "user show", "restore"} <= set(COMMANDS)
    assert {f"{command} {name}" for command, function in COMMANDS.items() for name, _ in numbers(function)} >= {
        "up port",
        "demo users",
        "campaign create number",
        "campaign edit min_amount",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_whole_number_of_every_command_is_read_as_it_was_typed(command: str) -> None:
    for name, hint in numbers(COMMANDS[command]):
        converters = [part.converter for part in flattened(hint) if isinstance(part, Parameter)]
        assert any(converters), f"--{name} of {command} would be rounded: give it the type WholeNumber"


def flattened(hint: Any) -> Iterator[Any]:
    """Yield everything that an annotation is made of."""
    for part in (hint, *getattr(hint, "__metadata__", ()), *get_args(hint)):
        yield part
        if part is not hint and get_args(part):
            yield from flattened(part)


class Ran:
    """How a command ended, and what it printed."""

    def __init__(self, status: int, error: str) -> None:
        self.status = status
        self.error = error


def ran(capsys: pytest.CaptureFixture[str], *typed: str) -> Ran:
    """Run a command in this process; an exception that is not SystemExit is let out, as a traceback would be."""
    try:
        main(typed)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    printed = capsys.readouterr()
    return Ran(status, printed.err + printed.out)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to run commands in, and an environment that names no deployment."""
    for name in [name for name in os.environ if name.startswith("EARLYBIRD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TERMS = {"--name": "x", "--discount": "30", "--number": "100"}


def create(*typed: str) -> list[str]:
    """Return a command that creates a campaign, with these options in place of its own."""
    return [
        "campaign",
        "create",
        *(part for pair in TERMS.items() if pair[0] not in typed for part in pair),
        *typed,
    ]


@pytest.mark.parametrize("option", ["--discount", "--number", "--days", "--min-amount", "--max-discount-amount"])
@pytest.mark.parametrize("typed", ["12.5", "1e3", "0x10", "1_000", "٣", "", " 7", "seven", "99.0", "1,000"])
def test_a_number_that_is_not_whole_is_refused_by_its_option(
    option: str, typed: str, nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ran(capsys, *create("--currency", "EUR", option, typed))
    assert result.status == 2
    assert option in result.error
    assert "no stack is running" not in result.error, "it was refused before anything was looked for"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--discount", "0"), "--discount: "),
        (("--days", "3651"), "--days: "),
        (("--number", "-1"), "--number: "),
        (("--min-amount", "5"), None),
        (("--ends-at", "20301201"), "--ends-at: give a time in ISO 8601"),
        (("--ends-at", "9999-12-31T23:59:59-12:00"), "--ends-at: "),
        (("--starts-at", "tomorrow"), "--starts-at: give a time in ISO 8601"),
        (("--currency", "XXX"), "--currency: "),
        (("--name", "x" * 101), "--name: use 1 to 100 characters"),
        (("--name", "a\u202eb"), "--name: leave out control characters"),
    ],
)
def test_terms_are_checked_as_the_api_checks_them(
    typed: tuple[str, ...],
    said: str | None,
    nowhere: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = ran(capsys, *create(*typed))
    assert result.status in (1, 2)
    assert (said or "no stack is running") in result.error


ODD = st.sampled_from(
    [
        "",
        "-",
        "--",
        "-1",
        "0",
        "1.5",
        "99999999999999999999",
        "a_file",
        "a_folder",
        "missing",
        "/",
        "..",
        "\u202e",
        "[x]",
    ]
) | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"up", "serve"}))  # which would run for ever
@given(typed=st.lists(ODD, max_size=3), as_data_dir=st.booleans())
@example(typed=["a_file"], as_data_dir=False)
@example(typed=["a_folder"], as_data_dir=False)
@example(typed=["a_file"], as_data_dir=True)
@example(typed=["broken"], as_data_dir=True)
def test_no_command_shows_a_traceback_for_what_was_typed(
    command: str,
    typed: list[str],
    as_data_dir: bool,
    nowhere: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("earlybird.cli.passwords._MEMORY_KIB", (8,))  # what takes long is not what is typed
    (nowhere / "a_file").write_text("no backup")
    (nowhere / "a_folder").mkdir(exist_ok=True)
    (nowhere / "broken").mkdir(exist_ok=True)
    (nowhere / "broken" / "stack.json").write_text("{")
    arguments = [*command.split(), *(["--data-dir", *typed[:1]] if as_data_dir else typed)]
    result = ran(capsys, *arguments)
    assert "Traceback" not in result.error
    assert result.status in (0, 1, 2)
    assert result.status == 0 or result.error.strip(), "it says why"


@pytest.mark.parametrize(
    "typed",
    [
        ("up", "--port", "99999"),
        ("up", "--port", "80.5"),
        ("up", "--members", "2"),
        ("up", "--data-dir", "a_file"),
        ("demo", "--users", "1.5"),
        ("demo", "--users", "0"),
        ("serve",),
        ("serve", "identity", "nobody"),
        ("audit", "--wait-seconds", "-1"),
        ("audit", "--wait-seconds", "nan"),
    ],
    ids=" ".join,
)
def test_a_long_running_command_refuses_at_once_what_cannot_be(
    typed: tuple[str, ...], nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "a_file").write_text("")
    result = ran(capsys, *typed)
    assert result.status in (1, 2)
    assert "Traceback" not in result.error
    assert typed[0] == "serve" or any(word.strip("-") in result.error for word in typed[1:])


@pytest.mark.parametrize(
    ("name", "value"), [("PHONE_COUNTRY", "vn"), ("IDENTITY_PORT", "x"), ("LOG_LEVEL", "loud")]
)
def test_a_setting_that_is_wrong_is_named(
    name: str, value: str, nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"EARLYBIRD_{name}", value)
    result = ran(capsys, "serve", "identity")
    assert result.status == 1
    assert f"EARLYBIRD_{name}: " in result.error


def test_restore_says_what_it_wants_before_it_connects_to_anything(
    nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "a_file").write_text("no backup")
    monkeypatch.setenv("EARLYBIRD_MONGODB_URI", "mongodb://127.0.0.1:9/")
    result = ran(capsys, "restore", "a_file")
    wanted = "name the folder that `earlybird backup` wrote, which has a manifest.json"
    assert result.error == f"earlybird: a_file is no backup: {wanted}\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-ada", "@ada", "\tada", "\rada"])
def test_a_name_that_a_spreadsheet_would_run_is_exported_as_text(name: str) -> None:
    assert _cell(name) == f"'{name}"
    assert _cell("ada-1") == "ada-1"
    assert _cell(-1) == -1


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "a\u202eb"])
def test_a_reason_is_checked_before_anything_is_looked_for(
    reason: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = ran(capsys, "voucher", "withdraw", "ada", "--reason", reason)
    assert (result.status, result.error.startswith("earlybird: --reason: ")) == (1, True), result.error
