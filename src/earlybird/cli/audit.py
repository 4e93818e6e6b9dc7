"""`earlybird audit`: prove that the vouchers are right."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.text import Text

from earlybird.cli.deployment import DataDir, deployment, plain_console, run
from earlybird.settings import Settings


def audit(
    *,
    data_dir: DataDir = None,
    wait_seconds: Annotated[
        float,
        Parameter(help="time that first logins on their way get to arrive", validator=Number(gte=0, lte=3600)),
    ] = 10,
) -> None:
    """Recompute who must hold which voucher and compare: print the proof, or the first difference (exit 1).

    Looks at the deployment that EARLYBIRD_MONGODB_URI and EARLYBIRD_NATS_URL name; with --data-dir, or without
    them, at the local stack running in that folder.
    """
    run(run_audit(deployment(data_dir), plain_console(), wait_seconds))


async def run_audit(settings: Settings, console: Console, wait_seconds: float) -> None:
    """Audit a deployment, printing each proof. Raises Difference."""
    from earlybird.infra.mongo import connect_mongo
    from earlybird.infra.nats import connect_nats
    from earlybird.operations.audit import Audit, Proof

    def report(proof: Proof) -> None:
        console.print(Text.assemble(("  ✓ ", "green"), f"{proof.subject}: {proof.statement}"), soft_wrap=True)

    async with (
        connect_mongo(settings, "audit") as client,
        connect_nats(settings, "audit", patience_seconds=10) as broker,
    ):
        await Audit(client, broker.jetstream(), wait_seconds=wait_seconds).run(report)
    passed = ("Audit passed", "green"), ": the vouchers are exactly what ledger and campaigns say."
    console.print(Text.assemble(*passed), soft_wrap=True)
