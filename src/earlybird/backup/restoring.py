"""Puts a backup into an empty deployment."""

from collections.abc import Iterator
from pathlib import Path

from bson import decode_file_iter
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from earlybird.backup.manifest import CopiedCollection, Manifest, Report, read_manifest
from earlybird.errors import Failure
from earlybird.identity.store import DATABASE as IDENTITY
from earlybird.infra.mongo import Client
from earlybird.promotions.store import DATABASE as PROMOTIONS

_BATCH = 1000
_MUST_BE_EMPTY = ((IDENTITY, "users"), (IDENTITY, "ledger"), (PROMOTIONS, "vouchers"), (PROMOTIONS, "redemptions"))
_RAW = CodecOptions(document_class=RawBSONDocument)
_HEAD = "head"


async def restore(client: Client, folder: Path, report: Report) -> Manifest:
    """Put a backup into a deployment whose schema is in place and that has no users, ledger or vouchers yet.

    Every file is checked before anything is written. promotions comes first and the ledger's head last, so that
    workers which run meanwhile find either nothing to do or everything in place. The head loses its place in the
    old cluster's oplog: the sequencer then looks through all users once. Raises Failure.
    """
    manifest = read_manifest(folder)
    for database, name in _MUST_BE_EMPTY:
        if await client[database][name].find_one({}, {"_id": 1}) is not None:
            raise Failure(f"this deployment is not empty: there are {name}; restore into a new one")
    for collection in sorted(manifest.collections, key=lambda one: one.name == _HEAD):
        await _put_back(client, folder, collection, report)
    await client[IDENTITY][_HEAD].update_one({}, {"$unset": {"resume_token": "", "start_at": ""}})
    return manifest


async def _put_back(client: Client, folder: Path, collection: CopiedCollection, report: Report) -> None:
    target = client[collection.database].get_collection(collection.name, codec_options=_RAW)
    await target.delete_many({})
    for batch in _batches(folder / collection.file):
        await target.insert_many(batch)
        report(f"{collection.database}.{collection.name}", len(batch))


def _batches(file: Path) -> Iterator[list[RawBSONDocument]]:
    batch = []
    with file.open("rb") as content:
        for document in decode_file_iter(content, _RAW):
            batch.append(document)
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
