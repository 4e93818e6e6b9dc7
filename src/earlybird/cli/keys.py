"""`earlybird keys`: the keys that sign tokens."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from earlybird.cli.deployment import DataDir, WholeNumber, deployment, plain_console, run
from earlybird.cli.winners import time_cell

if TYPE_CHECKING:
    from earlybird.identity.sessions.signing_keys import KeyFolder
    from earlybird.settings import Settings

_SHOWN = 12  # characters of a key, enough to name it
app = App(name="keys", help="Look after the keys that sign tokens: rotate, list, retire.")


@app.command
def rotate(
    *,
    in_seconds: Annotated[
        WholeNumber,
        Parameter(
            name="--in",
            help="seconds until it signs: services learn of it before",
            validator=Number(gte=0, lte=86_400),
        ),
    ] = 600,
    data_dir: DataDir = None,
) -> None:
    """Make a new key, publish it, and let it sign soon. Nobody is logged out.

    The old key verifies until the last token that it signed has expired. Services fetch the public keys every five
    minutes at least, so let `--in` be 600 or more, unless a key has been stolen.
    """
    key = _folder(deployment(data_dir)).rotate(in_seconds)
    plain_console(soft_wrap=True).print(f"{key.kid} signs from {_time(key.signs_from)} UTC on")


@app.command(name="list")
def list_(*, data_dir: DataDir = None) -> None:
    """List the keys: which signs now, which did and verifies still, which will."""
    plan, now = _folder(deployment(data_dir)).plan, time.time()
    table = Table("key", "state", "signs from (UTC)", "verifies until (UTC)")
    for key in plan:
        until = "-" if key.verifies_until is None else _time(key.verifies_until)
        table.add_row(key.kid[:_SHOWN], key.state(now, plan), _time(key.signs_from), until)
    plain_console().print(table)


@app.command
def retire(
    key: Annotated[str, Parameter(help="the key, or how it begins", allow_leading_hyphen=True)],
    *,
    data_dir: DataDir = None,
) -> None:
    """Refuse at once whatever this key has signed: for a key that was stolen. Its holders log in again."""
    settings = deployment(data_dir)
    folder = _folder(settings)

    async def work() -> None:
        from earlybird.access.revocation_feed import open_bucket
        from earlybird.access.revocations import ended_key
        from earlybird.infra.nats import connect_nats

        async with connect_nats(settings, "keys", patience_seconds=10) as broker:  # before anything is changed
            bucket = await open_bucket(broker.jetstream(), settings.stream_replicas)
            retired = folder.retire(key)
            await bucket.put(*ended_key(retired.kid))
        plain_console(soft_wrap=True).print(f"{retired.kid} is retired: no service accepts its tokens any more")

    run(work())


def _folder(settings: "Settings") -> "KeyFolder":
    from earlybird.identity.sessions.signing_keys import KeyFolder

    return KeyFolder.of(settings)


def _time(moment: float) -> str:
    return time_cell(datetime.fromtimestamp(moment, UTC))
