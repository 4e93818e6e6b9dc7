"""`earlybird repair-ledger`: what may have to be done by hand to the ledger. See docs/runbook.md."""

from pathlib import Path

from rich.console import Console

from earlybird.cli.deployment import DATA_DIR, DataDir, deployment, plain_console, run


def repair_ledger(*, data_dir: DataDir = DATA_DIR) -> None:
    """Put entries that the ledger has lost back, as the stream has them and the users confirm."""
    run(_repair_ledger(data_dir, plain_console(soft_wrap=True)))


async def _repair_ledger(data_dir: Path, console: Console) -> None:
    from earlybird.infra.mongo import connect_mongo
    from earlybird.infra.nats import connect_nats
    from earlybird.operations.repair import refill_ledger

    settings = deployment(data_dir)
    async with (
        connect_mongo(settings, "repair-ledger") as client,
        connect_nats(settings, "repair-ledger", patience_seconds=10) as broker,
    ):
        numbers = await refill_ledger(client, broker.jetstream())
    if numbers:
        console.print(f"Put back from the stream: {len(numbers)} entries, {numbers[0]} to {numbers[-1]}.")
    else:
        console.print("The ledger has no hole.")
