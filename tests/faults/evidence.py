"""What is kept of a run that failed: logs, history, the databases, and what was violated first."""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from pprint import pformat

from bson import json_util
from bson.binary import UuidRepresentation
from pymongo.errors import PyMongoError

from faults.cluster import Cluster
from faults.run import Result, Run

_DATABASES = ("identity", "promotions")
_AS_JSON = json_util.JSONOptions(uuid_representation=UuidRepresentation.STANDARD, tz_aware=True)


async def keep_evidence(folder: Path, run: Run, result: Result | None, cluster: Cluster) -> Path:
    """Write everything that is known about a run into a folder of its own; give it."""
    own = folder / f"{run.cell.name.replace(' ', '-').replace(':', '')[:60]}-seed-{run.seed}"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(cluster.root / "logs", own / "logs")
    if result is not None:
        (own / "result.json").write_text(json.dumps(asdict(result), indent=2))
    for name, records in (("calls", run.history.calls), ("observations", run.history.observations)):
        lines = (json.dumps(asdict(record), default=str) for record in records)
        (own / f"{name}.jsonl").write_text("\n".join(lines))
    if run.final is not None:
        (own / "final.txt").write_text(pformat(asdict(run.final)))
    for name in cluster.names("nats"):
        shutil.copytree(cluster.root / name, own / name, dirs_exist_ok=True)
    with suppress(PyMongoError):  # it may be what failed
        await _keep_databases(own, cluster)
    return own


async def _keep_databases(folder: Path, cluster: Cluster) -> None:
    for database in _DATABASES:
        for collection in await cluster.mongo[database].list_collection_names():
            with (folder / f"{database}.{collection}.jsonl").open("w") as file:
                async for document in cluster.mongo[database][collection].find({}, {"password": 0}):
                    file.write(json_util.dumps(document, json_options=_AS_JSON) + "\n")
