"""What a backup consists of."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from earlybird.errors import Failure
from earlybird.identity import DATABASE as IDENTITY
from earlybird.promotions import DATABASE as PROMOTIONS

DATABASES = (PROMOTIONS, IDENTITY)  # in the order in which they are put back
MANIFEST = "manifest.json"
Report = Callable[[str, int], None]  # of a collection, so many more documents
_PIECE = 1024 * 1024


class CopiedCollection(BaseModel):
    """One collection, one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: str
    name: str
    documents: int
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """The name of the file with its documents."""
        return f"{self.database}.{self.name}.bson"


class Manifest(BaseModel):
    """Everything that belongs to a backup, as of one moment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    moment: datetime  # everything acknowledged by then is in it
    migrations: tuple[str, ...]
    collections: tuple[CopiedCollection, ...]

    @property
    def documents(self) -> int:
        """How many there are in all."""
        return sum(collection.documents for collection in self.collections)


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup consists of. Raises Failure unless this is the folder of one."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise Failure(
            f"{folder} is no backup: name the folder that `earlybird backup` wrote, which has a {MANIFEST}"
        ) from None
    except ValidationError:
        raise Failure(f"{folder / MANIFEST} is not what `earlybird backup` writes") from None


def check_whole(folder: Path) -> Manifest:
    """Read the manifest and see that every file is as it says. Raises Failure."""
    manifest = read_manifest(folder)
    unnamed = {file.name for file in folder.glob("*.bson")} - {one.file for one in manifest.collections}
    if unnamed:
        raise Failure(f"{MANIFEST} does not name {min(unnamed)}: the backup is damaged, nothing was restored")
    for collection in manifest.collections:
        _check(folder / collection.file, collection)
    return manifest


def _check(file: Path, collection: CopiedCollection) -> None:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as content:
            while piece := content.read(_PIECE):
                digest.update(piece)
    except FileNotFoundError:
        raise Failure(f"{file} is missing: the backup is not whole, nothing was restored") from None
    if digest.hexdigest() != collection.sha256:
        raise Failure(f"{file} is not as it was written: the backup is damaged, nothing was restored")
