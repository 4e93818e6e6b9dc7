"""`earlybird backup` and `restore`: a consistent copy of everything, and its way back."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from earlybird.cli.deployment import DataDir, deployment, plain_console, run
from earlybird.errors import Failure

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.operations.backup.manifest import Manifest, Report

_TIMEOUT_SECONDS = 30  # for one batch of up to 16 MB
KeepStream = Annotated[
    bool,
    Parameter(
        negative="",
        help="NATS outlived the MongoDB that was lost: leave its stream to `earlybird recover-first-logins`",
    ),
]
ResetStream = Annotated[
    bool,
    Parameter(negative="", help="the same, but delete its stream, and with it what happened since the backup"),
]


def backup(folder: Path, /, *, data_dir: DataDir = None) -> None:
    """Copy both databases as of one moment into a new folder, while traffic goes on.

    The copy holds personal data and password hashes: keep it as you keep the database. It must be done within the
    time that MongoDB keeps a moment (300 s by default); for more data see docs/runbook.md.
    """
    from earlybird.operations.backup import take_backup

    _work(data_dir, lambda client, report: take_backup(client, folder, report), "Backup", folder)


def restore(
    folder: Path,
    /,
    *,
    keep_stream: KeepStream = False,
    reset_stream: ResetStream = False,
    data_dir: DataDir = None,
) -> None:
    """Put a backup into an empty deployment; then start the workers, if they do not run, and audit."""
    from earlybird.infra.nats import connect_nats
    from earlybird.operations.backup import restore as put_back
    from earlybird.operations.backup.manifest import read_manifest

    if keep_stream and reset_stream:
        raise Failure("--keep-stream or --reset-stream, not both")
    read_manifest(folder)  # before anything is connected

    async def work(client: "Client", report: "Report") -> "Manifest":
        async with connect_nats(deployment(data_dir), "restore", patience_seconds=10) as broker:
            options = {"keep_stream": keep_stream, "reset_stream": reset_stream}
            return await put_back(client, broker.jetstream(), folder, report, **options)

    _work(data_dir, work, "Restored", folder)


def _work(
    data_dir: Path | None, work: "Callable[[Client, Report], Awaitable[Manifest]]", done: str, folder: Path
) -> None:
    settings = deployment(data_dir).model_copy(update={"mongodb_timeout_seconds": _TIMEOUT_SECONDS})
    console = plain_console(soft_wrap=True)

    async def connected() -> None:
        from earlybird.infra.mongo import connect_mongo

        async with connect_mongo(settings, "backup") as client:
            with _progress(console) as report:
                manifest = await work(client, report)
        when = f"{manifest.moment:%Y-%m-%d %H:%M:%S} UTC"
        console.print(f"{done}: {manifest.documents:,} documents as of {when}, {folder}")

    run(connected())


@contextmanager
def _progress(console: Console) -> "Iterator[Report]":
    columns = (TextColumn("{task.description}: {task.completed:,.0f} documents"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {}

        def report(collection: str, documents: int) -> None:
            if collection not in bars:
                bars[collection] = progress.add_task(collection, total=None)
            progress.advance(bars[collection], documents)

        yield report
