"""`earlybird status`: how the system is, and what to do first."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from earlybird.cli.deployment import DataDir, run, stack_targets
from earlybird.errors import Failure
from earlybird.settings import Settings
from earlybird.status.alarms import Looks
from earlybird.status.readings import BadTargets, Target, parse_targets, read_all
from earlybird.status.report import Report, report

_EVERY_SECONDS = 2.0
_FIRST_SECONDS = 1.0  # between the two looks that rates need


def status(
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
    targets: str = "",
    data_dir: DataDir = None,
) -> None:
    """Show how every process is, how far each part is behind, what is wrong and what to do first.

    It asks every process of the local stack, or of EARLYBIRD_STATUS_TARGETS, and no database.
    Exit code: 0 all is well, 1 something is wrong.

    Parameters
    ----------
    once
        Look once, print, and end; otherwise it goes on until Ctrl-C.
    as_json
        Print JSON, once.
    targets
        The processes, as name=url,name=url, in place of those above.
    data_dir
        The data folder of the local stack.
    """
    try:
        known = parse_targets(targets or Settings().status_targets) or stack_targets(data_dir)
    except BadTargets as error:
        raise Failure(str(error)) from error
    if once or as_json:
        found = asyncio.run(_look(known))
        if as_json:
            sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
        else:
            Console().print(_screen(found))
        sys.exit(1 if found.findings else 0)
    run(_watch(known))


async def _look(targets: list[Target]) -> Report:
    before = await read_all(targets)
    await asyncio.sleep(_FIRST_SECONDS)
    return report(Looks(before, await read_all(targets)))


async def _watch(targets: list[Target]) -> None:
    before = await read_all(targets)
    with Live(console=Console(), screen=True, auto_refresh=False) as live, suppress(asyncio.CancelledError):
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            after = await read_all(targets)
            live.update(_screen(report(Looks(before, after))), refresh=True)
            before = after
            await asyncio.sleep(_EVERY_SECONDS)


def _screen(found: Report) -> Group:
    return Group(
        *_findings(found),
        _pairs("From login to voucher", found.pipeline),
        _pairs("Now", found.rates),
        *_rest(found),
    )


def _findings(found: Report) -> Iterator[str]:
    if not found.findings:
        yield "[green]Nothing is wrong.[/green]\n"
    for one in found.findings:
        yield f"[red]{escape(one.what)}[/red]\n  First: {escape(one.first)}\n  docs/runbook.md: {one.runbook}\n"


def _pairs(title: str, pairs: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for label, value in pairs:
        table.add_row(label, value)
    return table


def _rest(found: Report) -> Iterator[Table]:
    if found.leaders:
        yield _pairs("Who leads", found.leaders)
    table = Table(title="Processes", title_justify="left")
    for column in ("name", "state", "version", "memory"):
        table.add_column(column)
    for one in found.processes:
        colour = "green" if one.is_ready else "red"
        table.add_row(one.name, f"[{colour}]{escape(one.state)}[/{colour}]", one.version, one.memory)
    yield table
