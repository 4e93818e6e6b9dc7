"""What a migration may not do, read from its source. docs/upgrading.md has the rules, and the reason for each.

A contraction takes away what no version still reads. It stands in CONTRACT, with the version that may have it.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from earlybird.infra.mongo import Migration

# The name of a migration that takes something away, and the version that may have it. Neither that version nor the
# one before reads or writes what is taken away.
CONTRACT: Mapping[str, str] = {}

_CALLS = {
    "drop", "drop_collection", "drop_database", "drop_index", "drop_indexes", "rename",
    "delete_one", "delete_many", "find_one_and_delete", "replace_one", "find_one_and_replace",
}  # fmt: skip
_NAMES = {"DeleteOne", "DeleteMany", "ReplaceOne"}
_WORDS = {
    "$unset", "$rename", "$out", "$merge", "$replaceRoot", "$replaceWith", "$project",
    "collMod", "drop", "dropIndexes", "dropDatabase", "renameCollection", "validator", "delete",
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """Something that a migration may not do."""

    migration: str
    what: str


def breaches(
    migrations: Sequence[Migration], last_released: str, version: str, contract: Mapping[str, str] = CONTRACT
) -> list[Breach]:
    """Return what these migrations of one service do that the version before, still running, would not bear.

    Those up to `last_released` have been applied; what they have made unique is unique.
    """
    names = [migration.__name__ for migration in migrations]
    if last_released not in names:
        return [Breach(last_released, "it was released, and is gone or has another name")]
    if names != sorted(names):
        return [Breach(names[-1], "migrations stand in the order of their numbers")]
    released = names.index(last_released) + 1
    known = {name for migration in migrations[:released] for name in _collections(migration)}
    found = []
    for number, migration in enumerate(migrations):
        if _allowed(migration.__name__, version, contract):
            continue
        found += [Breach(migration.__name__, what) for what in _forbidden(migration)]
        if number >= released:
            found += [
                Breach(migration.__name__, f"a unique index on {name}, which the version before writes")
                for name in _made_unique(migration) & known
            ]
    return sorted(set(found))


def _allowed(name: str, version: str, contract: Mapping[str, str]) -> bool:
    return name in contract and _numbers(version) >= _numbers(contract[name])


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _forbidden(migration: Migration) -> Iterator[str]:
    for function in _with_what_it_calls(migration):
        for node in ast.walk(_tree(function)):
            match node:
                case ast.Call(func=ast.Attribute(attr=name)) if name in _CALLS:
                    yield name
                case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
                    yield name
                case ast.Constant(value=str(word)) if word in _WORDS:
                    yield word


def _made_unique(migration: Migration) -> set[str]:
    """Return the collections that get a unique index."""
    return {
        name
        for function in _with_what_it_calls(migration)
        for node in ast.walk(_tree(function))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"create_index", "create_indexes"}
        and any(_is_unique(part) for part in _with_what_is_named(node, function))
        for name in _taken(node.func, function)
    }


def _with_what_is_named(call: ast.Call, function: FunctionType) -> Iterator[ast.AST]:
    """Go through a call, and through what the variables in it were set to in the same function."""
    names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    yield from ast.walk(call)
    for node in ast.walk(_tree(function)):
        if isinstance(node, ast.Assign) and names & {
            target.id for target in node.targets if isinstance(target, ast.Name)
        }:
            yield from ast.walk(node.value)


def _is_unique(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "unique" and not _is_false(node.value)


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _collections(migration: Migration) -> set[str]:
    return {name for function in _with_what_it_calls(migration) for name in _collections_of(function)}


def _collections_of(function: FunctionType) -> Iterator[str]:
    return _taken(_tree(function), function)


def _taken(tree: ast.AST, function: FunctionType) -> Iterator[str]:
    """Return the names by which collections of `database` are taken; a constant's name is looked up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "database":
            match node.slice:
                case ast.Constant(value=str(name)):
                    yield name
                case ast.Name(id=constant):
                    yield str(function.__globals__.get(constant, constant))


def _with_what_it_calls(migration: Callable[..., Any]) -> list[FunctionType]:
    """Return a migration and every function and method of ours that it calls, however far away."""
    found: dict[FunctionType, None] = {}
    waiting: list[Callable[..., Any]] = [migration]
    while waiting:
        function = waiting.pop()
        if isinstance(function, FunctionType) and function not in found:
            found[function] = None
            waiting += _called(function)
    return list(found)


def _called(function: FunctionType) -> Iterator[Callable[..., Any]]:
    """Return the functions that it calls, and the methods of the objects of ours that it makes or belongs to."""
    calls = [node.func for node in ast.walk(_tree(function)) if isinstance(node, ast.Call)]
    named = [function.__globals__.get(call.id) for call in calls if isinstance(call, ast.Name)]
    own = function.__globals__.get(function.__qualname__.partition(".")[0])
    methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    for target in (own, *named):
        if isinstance(target, FunctionType) and not target.__module__.startswith("pymongo"):
            yield target
        elif isinstance(target, type) and target.__module__.startswith("earlybird."):
            yield from (vars(target)[name] for name in methods & vars(target).keys())


def _tree(function: FunctionType) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))
