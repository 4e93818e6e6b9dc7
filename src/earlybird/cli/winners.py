"""Winners on the command line: a table of the first, or all of them as a stream."""

import csv
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from earlybird.cli.deployment import plain_console

if TYPE_CHECKING:
    from earlybird.operations.winners import Winner
    from earlybird.promotions.campaigns.records import CampaignRecord

_WINNERS_SHOWN = 100


async def print_winners(rows: "AsyncIterator[Winner]", record: "CampaignRecord") -> None:
    """Print the first of them as a table."""
    title = f"{record.campaign.name}: {record.granted} of {record.campaign.capacity} vouchers granted"
    if record.campaign.replacements:
        parts = (
            f"{record.campaign.number_of_promotion}, and {record.campaign.replacements} to replace withdrawn ones"
        )
        title += f" ({parts})"
    table = Table(title=title, title_justify="left")
    for column in ("position", "user name", "first login (UTC)", "state", "until (UTC)"):
        table.add_column(column, justify="right" if column == "position" else "left")
    async for row in rows:
        if row.position > _WINNERS_SHOWN:
            break
        until = time_cell(row.expire_at)
        table.add_row(str(row.position), row.username or "-", time_cell(row.first_login_at), row.state, until)
    plain_console().print(table)
    if record.granted > _WINNERS_SHOWN:
        Console(stderr=True).print(f"The first {_WINNERS_SHOWN}; all of them with --csv or --json.")


async def stream_winners(rows: "AsyncIterator[Winner]", total: int, *, as_csv: bool) -> None:
    """Write rows as they come, as CSV or as JSON lines, with a count on the terminal if they go elsewhere."""
    console = Console(stderr=True)
    hidden = sys.stdout.isatty() or not console.is_terminal
    columns = (TextColumn("{task.completed:,.0f} of {task.total:,.0f} winners"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        bar = progress.add_task("", total=total)

        async def counted() -> "AsyncIterator[Winner]":
            async for row in rows:
                yield row
                if row.position % 1000 == 0:
                    progress.update(bar, completed=row.position)

        await (_write_csv if as_csv else _write_json)(counted())


async def _write_csv(rows: "AsyncIterator[Winner]") -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_columns())
    async for row in rows:
        writer.writerow(map(_cell, _plain(row)))


async def _write_json(rows: "AsyncIterator[Winner]") -> None:
    columns = _columns()
    async for row in rows:
        sys.stdout.write(json.dumps(dict(zip(columns, _plain(row), strict=True))) + "\n")


def _cell(value: object) -> object:
    """Return a value that no spreadsheet runs as a formula (OWASP, CSV injection): an apostrophe makes it text."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def _columns() -> list[str]:
    from earlybird.operations.winners import Winner

    return [field.name for field in fields(Winner)]


def _plain(row: "Winner") -> list[object]:
    from earlybird.times import iso_utc

    first_login_at = None if row.first_login_at is None else iso_utc(row.first_login_at)
    user_id, expire_at = str(row.user_id), iso_utc(row.expire_at)
    return [row.position, row.username, user_id, first_login_at, row.discount, expire_at, row.state]


def time_cell(moment: datetime | None) -> str:
    """Write a time as tables show it: UTC, to the second."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
