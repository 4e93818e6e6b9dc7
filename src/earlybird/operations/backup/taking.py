"""Takes a backup: all collections through one snapshot session, so as of one moment, however long it takes."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure, PyMongoError

from earlybird.errors import Failure
from earlybird.infra.mongo import Client, database_time
from earlybird.operations.backup.manifest import DATABASES, MANIFEST, CopiedCollection, Manifest, Report

_SNAPSHOT_GONE = {239, 246}  # MongoDB: SnapshotTooOld, SnapshotUnavailable
_LENGTH_BYTES = 4


async def take_backup(client: Client, folder: Path, report: Report) -> Manifest:
    """Copy both databases, as of one moment, into a new folder, while traffic goes on.

    The folder appears when all is in it. Raises Failure if it is there already, or if the copy takes longer than
    MongoDB keeps the moment.
    """
    with _new_folder(folder) as partial, _failures(folder):
        manifest = await _copy_all(client, partial, report)
        with _new_file(partial / MANIFEST) as file:
            file.write(manifest.model_dump_json(indent=2).encode())
        partial.rename(folder)
    return manifest


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to write into, and remove it again unless it got its name by the end of the block."""
    if folder.exists():
        raise Failure(f"{folder} is there already: name a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _failures(folder):
            partial.mkdir(mode=0o700, parents=True)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _failures(folder: Path) -> Iterator[None]:
    """Tell what stopped the copy: a moment that is gone, a disk that takes no more."""
    try:
        yield
    except PyMongoError as error:
        if not (isinstance(error, OperationFailure) and error.code in _SNAPSHOT_GONE):
            raise
        raise Failure(
            "the copy took longer than MongoDB keeps a moment (300 s by default): set "
            "minSnapshotHistoryWindowInSeconds higher, or use one of the ways in docs/runbook.md"
        ) from None
    except OSError as error:
        raise Failure(f"{folder} cannot be written: {error.strerror}") from None


async def _copy_all(client: Client, folder: Path, report: Report) -> Manifest:
    moment = await database_time(client[DATABASES[0]])
    names = [(name, one) for name in DATABASES for one in sorted(await client[name].list_collection_names())]
    copied: list[CopiedCollection] = []
    migrations: list[str] = []
    async with client.start_session(snapshot=True) as session:
        for database, name in names:
            copied.append(await _copy(client, session, database, name, folder, report))
        for database in DATABASES:
            applied = client[database]["migrations"].find(session=session)
            migrations += [migration["_id"] async for migration in applied]
    return Manifest(moment=moment, migrations=tuple(migrations), collections=tuple(copied))


async def _copy(
    client: Client, session: AsyncClientSession, database: str, name: str, folder: Path, report: Report
) -> CopiedCollection:
    digest, documents, size = hashlib.sha256(), 0, 0
    batches = client[database][name].find_raw_batches(session=session)
    with _new_file(folder / f"{database}.{name}.bson") as file:
        async for raw in batches:
            batch = cast("bytes", raw)  # pymongo's types say documents
            found = count_documents(batch)
            file.write(batch)
            digest.update(batch)
            documents, size = documents + found, size + len(batch)
            report(f"{database}.{name}", found)
    return CopiedCollection(
        database=database, name=name, documents=documents, bytes=size, sha256=digest.hexdigest()
    )


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that its owner alone may read; it is on the disk when the block ends."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:  # the mode
        yield file
        file.flush()
        os.fsync(file.fileno())


def count_documents(batch: bytes) -> int:
    """Count the BSON documents that lie one after another: each begins with its length (bsonspec.org)."""
    count = place = 0
    while place < len(batch):
        place += int.from_bytes(batch[place : place + _LENGTH_BYTES], "little")
        count += 1
    return count
