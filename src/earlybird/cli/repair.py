"""`earlybird reset-stream`, `repair-ledger`, `recover-first-logins`: what an operator may have to do.

See docs/runbook.md and docs/disaster.md.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from earlybird.cli.deployment import DataDir, actor, deployment, plain_console, run

if TYPE_CHECKING:
    from nats.js import JetStreamContext

    from earlybird.infra.mongo import Client


def reset_stream(*, data_dir: DataDir = None) -> None:
    """Delete the stream of first logins, if the ledger is sound, and wait until the relay has refilled it.

    Nothing is lost: the stream is a copy of the ledger, and no first login is judged twice.
    """
    from earlybird.operations.reset_stream import reset_stream as reset

    async def work() -> None:
        async with _servers(data_dir, "reset-stream") as (client, jetstream):
            await reset(client, jetstream, plain_console(soft_wrap=True).print)

    run(work())


def repair_ledger(*, data_dir: DataDir = None) -> None:
    """Put entries that the ledger has lost back, as the stream has them and the users confirm."""
    from earlybird.operations.repair import refill_ledger

    async def work() -> None:
        async with _servers(data_dir, "repair-ledger") as (client, jetstream):
            numbers = await refill_ledger(client, jetstream)
        done = (
            f"Put back from the stream: {len(numbers)} entries, {numbers[0]} to {numbers[-1]}." if numbers else ""
        )
        plain_console(soft_wrap=True).print(done or "The ledger has no hole.")

    run(work())


def recover_first_logins(*, data_dir: DataDir = None) -> None:
    """After a restore to an older moment: bring back from NATS the first logins that MongoDB has lost.

    They get the numbers that they had. Keep customers away, and all relays stopped. See docs/disaster.md.
    """
    from earlybird.operations.recovery import recover_first_logins as recover

    async def work() -> None:
        async with _servers(data_dir, "recover-first-logins") as (client, jetstream):
            back = await recover(client, jetstream, actor())
        count = back.last - back.first + 1
        done = (
            f"Brought back from the stream: {count:,} first logins, {back.first:,} to {back.last:,}; "
            f"of them {back.lost_accounts:,} of accounts that are lost."
        )
        nothing = "The stream has no first login that the ledger lacks."
        plain_console(soft_wrap=True).print(done if count else nothing)

    run(work())


@asynccontextmanager
async def _servers(data_dir: Path | None, name: str) -> "AsyncIterator[tuple[Client, JetStreamContext]]":
    from earlybird.infra.mongo import connect_mongo
    from earlybird.infra.nats import connect_nats

    settings = deployment(data_dir)
    async with (
        connect_mongo(settings, name) as client,
        connect_nats(settings, name, patience_seconds=10) as broker,
    ):
        yield client, broker.jetstream()
