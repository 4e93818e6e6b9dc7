"""`earlybird`: all commands together, and what a failure looks like."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App
from pydantic import ValidationError

from earlybird.cli.audit import audit
from earlybird.cli.backup import backup, restore
from earlybird.cli.campaign import app as campaign
from earlybird.cli.capacity import capacity
from earlybird.cli.deploy import app as deploy
from earlybird.cli.keys import app as keys
from earlybird.cli.mail import mail
from earlybird.cli.passwords import app as passwords
from earlybird.cli.repair import recover_first_logins, repair_ledger, reset_stream
from earlybird.cli.services import migrate, serve
from earlybird.cli.stack import demo, up
from earlybird.cli.status import status
from earlybird.cli.user import app as user
from earlybird.cli.verify import verify
from earlybird.cli.voucher import app as voucher
from earlybird.cli.webhook import app as webhook
from earlybird.errors import Failure

app = App(
    name="earlybird",
    version=lambda: version("earlybird"),
    help="The first N customers to log in during a campaign get a voucher: exactly N, in true order, provably.",
)
for command in (
    up,
    demo,
    mail,
    status,
    audit,
    verify,
    campaign,
    user,
    voucher,
    webhook,
    keys,
    passwords,
    serve,
    migrate,
    reset_stream,
    repair_ledger,
    recover_first_logins,
    backup,
    restore,
    capacity,
    deploy,
):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an expected failure is one line on standard error and exit status 1."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            _fail(f"EARLYBIRD_{name.upper()}: {problem['msg']}")
    except Failure as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    except OSError as error:  # of a file or folder that was named, or of this machine
        _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def _fail(line: str) -> None:
    print(f"earlybird: {line}", file=sys.stderr)  # noqa: T201  # a command speaks on standard error
    raise SystemExit(1)
