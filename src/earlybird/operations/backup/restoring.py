"""Puts a backup into an empty deployment."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bson import decode_file_iter
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pymongo.errors import BulkWriteError

from earlybird.errors import Failure
from earlybird.events import STREAM
from earlybird.identity import DATABASE as IDENTITY
from earlybird.identity import migrations as identity
from earlybird.infra.mongo import Client, Document, apply_migrations
from earlybird.operations.backup.manifest import DATABASES, CopiedCollection, Manifest, Report, check_whole
from earlybird.promotions import DATABASE as PROMOTIONS
from earlybird.promotions import migrations as promotions

_BATCH = 1000
_MADE_BY_MIGRATIONS = ("head", "cursor", "migrations")
_OF_THE_OLD_OPLOG = ("resume_token", "start_at")
_PLACES = ((PROMOTIONS, "cursor"), (IDENTITY, "head"))  # where the workers stand; without them they wait
_RAW = CodecOptions(document_class=RawBSONDocument)


async def restore(
    client: Client,
    jetstream: JetStreamContext,
    folder: Path,
    report: Report,
    *,
    keep_stream: bool = False,
    reset_stream: bool = False,
) -> Manifest:
    """Put a backup into a deployment in which nothing is stored, and whose stream of first logins is empty.

    Everything is checked before anything is written. A stream that has messages is of another ledger, and the
    granter would judge them: it is refused, or with `reset_stream` deleted. Workers may run; they wait. With
    `keep_stream` it stays as it is, for `recover_first_logins` to read, and no worker may run.
    The head loses its place in the old cluster's oplog, so the sequencer looks through all users. Raises Failure.
    """
    manifest = check_whole(folder)
    _check_version(manifest)
    await _check_empty(client)
    if not (reset_stream or keep_stream):
        await _check_stream(jetstream)
    await _migrate(client)
    for database, name in _PLACES:
        await client[database][name].delete_many({})
    if reset_stream:
        with suppress(NotFoundError):
            await jetstream.delete_stream(STREAM)
    for collection in sorted(manifest.collections, key=lambda one: (one.database, one.name) in _PLACES):
        await _put_back(client, folder, collection, report)
    await _migrate(client)  # what is newer than the backup
    return manifest


def _check_version(manifest: Manifest) -> None:
    known = {migration.__name__ for migration in (*identity.MIGRATIONS, *promotions.MIGRATIONS)}
    unknown = sorted(set(manifest.migrations) - known)
    if unknown:
        raise Failure(f"the backup is of a newer version of earlybird, which has {unknown[0]}: restore with that")


async def _check_empty(client: Client) -> None:
    for database in DATABASES:
        for name in sorted(await client[database].list_collection_names()):
            if name not in _MADE_BY_MIGRATIONS and await client[database][name].find_one({}, {"_id": 1}):
                where = f"{database}.{name}"
                raise Failure(f"this deployment is not empty: there are {where}; restore into a new one")


async def _check_stream(jetstream: JetStreamContext) -> None:
    with suppress(NotFoundError):
        messages = (await jetstream.stream_info(STREAM)).state.last_seq
        if messages:
            raise Failure(
                f"this NATS is not empty: the stream {STREAM} has {messages} messages. Is EARLYBIRD_NATS_URL "
                "right? If it served the MongoDB that was lost, add --keep-stream: docs/disaster.md"
            )


async def _migrate(client: Client) -> None:
    await apply_migrations(client[IDENTITY], identity.MIGRATIONS)
    await apply_migrations(client[PROMOTIONS], promotions.MIGRATIONS)


async def _put_back(client: Client, folder: Path, collection: CopiedCollection, report: Report) -> None:
    name = f"{collection.database}.{collection.name}"
    target = client[collection.database].get_collection(collection.name, codec_options=_RAW)
    if collection.name in _MADE_BY_MIGRATIONS:  # all others are empty
        await target.delete_many({})
    for batch in _batches(folder / collection.file):
        try:
            await target.insert_many(
                [_without_place(one) for one in batch] if collection.name == "head" else batch
            )
        except BulkWriteError:
            raise Failure(
                f"somebody else writes to {name}: keep customers away, and restore into a new deployment"
            ) from None
        report(name, len(batch))


def _without_place(head: RawBSONDocument) -> Document:
    """Forget the place in the old cluster's oplog before the head is there for a sequencer to follow."""
    return {field: value for field, value in head.items() if field not in _OF_THE_OLD_OPLOG}


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
