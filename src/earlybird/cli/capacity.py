"""`earlybird capacity`: what a launch of some size needs."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveFloat
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from earlybird.capacity.costs import MEASURED
from earlybird.capacity.model import BUSY, PEAK, READS_EACH, Launch, plan, sizes
from earlybird.cli.deployment import WholeNumber

_OTHERS = (100_000, 1_000_000, 30_000_000, 100_000_000)


def capacity(
    *,
    users: Annotated[WholeNumber, Parameter(help="people who log in", validator=Number(gte=1))] = 100_000,
    minutes: Annotated[PositiveFloat, Parameter(help="within so many minutes")] = 10,
    peak: Annotated[PositiveFloat, Parameter(help="the busiest second, in multiples of the mean")] = PEAK,
    reads: Annotated[PositiveFloat, Parameter(help="looks at the voucher for each login")] = READS_EACH,
) -> None:
    """Work out cores, processes, pools and disks for a launch, from measured costs; see docs/scaling.md."""
    console, found = Console(), plan(Launch(users, minutes, peak, reads), MEASURED)
    table = Table("part", "a second, at the peak", "busy cores", "processes", "of its limit", box=None)
    for part in found.parts:
        limit = f"{part.share_of_limit:.0%} of {part.most_per_second:,.0f}/s" if part.most_per_second else ""
        table.add_row(part.name, f"{part.per_second:,.0f}", f"{part.cores:,.1f}", str(part.processes), limit)
    console.print(table)
    console.print(
        f"\nCores in all: {found.cores:,.0f}, of which each is busy for {BUSY:.0%}.\n"
        f"MongoDB: {found.mongodb_gib:,.1f} GiB on each member, an oplog of {found.oplog_gib:,.1f} GiB, "
        f"{found.cache_gib:,.1f} GiB of cache; EARLYBIRD_MONGODB_POOL={found.mongodb_connections}.\n"
        f"NATS: {found.nats_gib:,.1f} GiB on each server. Valkey: {found.valkey_gib:,.1f} GiB.\n"
        f"First to give way: {found.first_to_give_way.name}, "
        f"at {found.most_logins_per_second:,.0f} first logins a second.\n"
    )
    others = Table("people", "logins/s at the peak", "cores", "MongoDB GiB", "first to give way", box=None)
    for number, one in sizes(MEASURED, minutes, _OTHERS).items():
        share = one.first_to_give_way.share_of_limit
        others.add_row(
            f"{number:,}", f"{one.launch.logins_per_second:,.0f}", f"{one.cores:,.0f}", f"{one.mongodb_gib:,.0f}",
            f"{one.first_to_give_way.name}, {share:.0%} of its limit",
        )  # fmt: skip
    console.print(others)
