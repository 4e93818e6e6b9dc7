"""A few cells of the matrix, with fewer people: what `make faults` does for hours, in a minute or so.

One cluster for all of them, so that each fault meets a system that has been through the others.
"""

import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from crash_points import CRASH_POINTS
from faults.cluster import Cluster, running_cluster
from faults.crash_faults import combinations
from faults.evidence import keep_evidence
from faults.matrix import PROXIED, cells
from faults.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CELLS = {cell.name: cell for cell in cells()}
CHOSEN = [
    "killed: mongod primary",
    pytest.param("killed: all NATS", marks=pytest.mark.slow),
    "step-down in mid-transaction: mongod primary",
    pytest.param("partitioned: relay", marks=pytest.mark.slow),
    pytest.param("connections dropped: every mongod", marks=pytest.mark.slow),
]
WITHDRAWS = "killed: mongod primary"  # in one of them vouchers are withdrawn meanwhile


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("faults") / "data", PROXIED) as cluster:
        yield cluster
    gc.collect()  # nats-py leaves writers behind when a server dies: let them be noticed here, where that is known


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHOSEN)
async def test_nothing_is_lost_and_nothing_happens_twice(name: str, cluster: Cluster, tmp_path: Path) -> None:
    cell = replace(CELLS[name], withdraws=name == WITHDRAWS)
    run = Run(cell, seed=0, people=120, number=40)
    result = await run.carry_out(cluster)
    if result.violations or result.incomplete:
        kept = await keep_evidence(tmp_path, run, result, cluster)
        pytest.fail(f"{(*result.violations, *result.incomplete)[0]}\nkept in {kept}")
    assert result.acknowledged == 120
    assert run.final is not None
    assert bool(run.final.withdrawn) == cell.withdraws
    assert result.recovery_seconds is not None


def test_the_matrix_has_every_crash_point() -> None:
    by_hand = (  # not in a run: tests/integration reaches these
        *("account.", "campaign.", "withdrawal.", "contact.", "courier.", "message."),
        *("announcer.", "collector.", "dispatcher.", "webhook."),
    )
    reached_by_a_crowd = [point for point in CRASH_POINTS if not point.startswith(by_hand)]
    assert sorted(point for group in combinations() for point in group) == reached_by_a_crowd
    assert all(any(" + ".join(group) in name for name in CELLS) for group in combinations())
