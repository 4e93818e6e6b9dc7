"""What is stored before and after: a migration may only add, because the version before goes on reading."""

from dataclasses import dataclass
from typing import Any

from earlybird.infra.mongo import Database, Document


@dataclass(frozen=True)
class Stored:
    """Every document by its id, and every index by its name, of each collection."""

    documents: dict[str, dict[Any, Document]]
    indexes: dict[str, dict[str, Any]]


async def stored(*databases: Database) -> Stored:
    """Read all that these databases keep."""
    documents: dict[str, dict[Any, Document]] = {}
    indexes: dict[str, dict[str, Any]] = {}
    for database in databases:
        for name in await database.list_collection_names():
            where = f"{database.name}.{name}"
            documents[where] = {str(one["_id"]): one async for one in database[name].find()}
            indexes[where] = dict(await database[name].index_information())
    return Stored(documents, indexes)


def losses(before: Stored, after: Stored) -> set[str]:
    """Return what the version before would miss, or be refused, now."""
    found = {f"{where} is gone" for where in before.documents.keys() - after.documents.keys()}
    for where in before.documents.keys() & after.documents.keys():
        found |= {f"{where}: {what}" for what in _of_documents(before.documents[where], after.documents[where])}
        found |= {f"{where}: {what}" for what in _of_indexes(before.indexes[where], after.indexes[where])}
    return found


def _of_documents(before: dict[Any, Document], after: dict[Any, Document]) -> set[str]:
    if before.keys() - after.keys():
        return {"documents are gone"}
    return {
        f"field {field} is {'other' if field in after[key] else 'gone'}"
        for key, document in before.items()
        for field, value in document.items()
        if field not in after[key] or repr(after[key][field]) != repr(value)  # 1 is not True, to others
    }


def _of_indexes(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    gone = {f"index {name} is gone or other" for name, index in before.items() if after.get(name) != index}
    new = {name: index for name, index in after.items() if name not in before}
    return gone | {f"index {name} is unique" for name, index in new.items() if index.get("unique")}
