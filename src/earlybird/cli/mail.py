"""`earlybird mail`: what the local stack has written to people."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from earlybird.cli.deployment import DATA_DIR, WholeNumber, plain_console, read_stack
from earlybird.errors import Failure


def mail(
    *,
    last: Annotated[WholeNumber, Parameter(help="how many to show", validator=Number(gte=1, lte=500))] = 3,
    data_dir: Annotated[Path, Parameter(help="folder of the local stack")] = DATA_DIR,
) -> None:
    """Show the last mails and short messages that the local stack has sent, the newest at the end."""
    from earlybird.stack.mailbox import FOLDER, Mailbox

    if read_stack(data_dir).get("verify", "nothing") == "nothing":
        raise Failure("this stack writes to nobody: start it with `earlybird up --verify email`")
    console = plain_console(soft_wrap=True)
    for letter in Mailbox(data_dir / FOLDER).newest(last):
        subject = f"\n{letter.subject}" if letter.subject else ""
        console.print(f"To {letter.to}{subject}\n\n{letter.text.strip()}\n")
