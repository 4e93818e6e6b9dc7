"""Which deployment a command speaks to, as whom, and how it runs."""

import getpass
import json
import os
import re
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token
from rich.console import Console
from rich.table import Table

from earlybird.errors import Failure
from earlybird.settings import Settings

ROLE_NAMES = ("identity", "promotions", "relay", "granter", "courier", "webhooks", "pages")
DATA_DIR = Path(".earlybird")
DataDir = Annotated[Path | None, Parameter(help=f"folder of the local stack [default: {DATA_DIR}]")]


def _whole(type_: object, tokens: Sequence[Token]) -> int:  # noqa: ARG001  # as Cyclopts calls it
    """Read a whole number as it was typed. Cyclopts itself would round 12.5 down."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise ValueError("give a whole number, in digits")
    return int(text)


WholeNumber = Annotated[int, Parameter(converter=_whole)]  # of every option that is a number


def print_json(value: object) -> None:
    """Print for programs: unadorned, however wide the terminal is."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201  # Rich would wrap and colour it


def print_fields(fields: Mapping[str, object], *, as_json: bool) -> None:
    """Print fields as a table of two columns, or as JSON for programs."""
    if as_json:
        print_json(fields)
        return
    table = Table(show_header=False)
    for name, value in fields.items():
        table.add_row(name, "-" if value is None else str(value))
    plain_console().print(table)


def plain_console(*, soft_wrap: bool = False) -> Console:
    """Return a terminal that shows names as people chose them: Rich would read `[vip]` and `:fire:`."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


def actor() -> str:
    """Tell whom the audit log is to name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return f"cli:{os.getuid()}"


def deployment(data_dir: Path | None) -> Settings:
    """Return the settings of the environment or its folder of secrets, if they name a MongoDB and no folder was
    given, or else of that stack.

    A folder that was given goes before the environment: it was written with this command, for this command.
    """
    settings = Settings()
    named = data_dir is None and "mongodb_uri" in settings.model_fields_set
    return settings if named else stack_settings(data_dir or DATA_DIR)


def stack_settings(data_dir: Path) -> Settings:
    """Return the settings of the stack that runs in this folder. Raises Failure if none does."""
    stack = read_stack(data_dir)
    names = "mongodb_uri", "nats_url", "valkey_url", "webhook_key", "webhook_networks"
    servers = {name: stack[name] for name in names if name in stack}
    keys = data_dir / "signing-keys"
    own = dict.fromkeys(("nats_ca_file", "nats_certificate_file", "nats_credentials_file"))
    return Settings(**servers, signing_key_folder=keys, **own)  # those of the environment belong to its own NATS


def read_stack(data_dir: Path) -> dict[str, Any]:
    """Read stack.json. Raises Failure if no stack runs there."""
    try:
        stack: dict[str, Any] = json.loads((data_dir / "stack.json").read_text())
    except (OSError, ValueError):
        raise Failure(
            f"no stack is running in {data_dir}: start one with `earlybird up`, or name another with --data-dir"
        ) from None
    return stack


def stack_targets(data_dir: Path | None) -> Mapping[str, str]:
    """Return the addresses of the roles of the stack that runs in this folder; a server that is away has none."""
    found = {}
    for name, process in read_stack(data_dir or DATA_DIR)["processes"].items():
        if name.startswith(ROLE_NAMES):
            found[name] = f"http://127.0.0.1:{process['port']}"
        elif process["pid"] is None:
            found[name] = ""
    return found


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; a database or broker that does not answer is one line, not a traceback."""
    import nats.errors
    import uvloop
    from pymongo.errors import ConnectionFailure, PyMongoError

    try:
        uvloop.run(work)
    except PyMongoError as error:
        if not (error.timeout or isinstance(error, ConnectionFailure)):
            raise
        raise Failure("MongoDB does not answer: is it running, and is EARLYBIRD_MONGODB_URI right?") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise Failure("NATS does not answer: is it running, and is EARLYBIRD_NATS_URL right?") from error
