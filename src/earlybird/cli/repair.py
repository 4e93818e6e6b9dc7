"""`earlybird reset-stream` and `repair-ledger`: what an operator may have to do. See docs/runbook.md."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from earlybird.cli.deployment import DataDir, deployment, plain_console, run

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
