"""The client has a function for each route, and each says what its route takes: held to the services' OpenAPI."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI

from earlybird import identity, promotions
from earlybird.client import Call, api
from earlybird.history import routes as history_routes

FUNCTIONS = {name: getattr(api, name) for name in api.__all__ if inspect.isfunction(getattr(api, name))}
GUIDE = Path(__file__).parents[2] / "docs" / "client.md"
# What they take besides is the fields of a body, by name.
OPEN = {"create_campaign", "edit_campaign", "preview_campaign", "preview_change", "change_webhook"}


def routers() -> Iterator[tuple[APIRouter, str]]:
    """Give every router of the services, with the prefix that the application adds."""
    for service in (identity, promotions):
        for found in pkgutil.walk_packages(service.__path__, f"{service.__name__}."):
            if found.name.endswith(".routes"):
                yield import_module(found.name).router, ""
        yield history_routes.router, f"/audit-log/{service.__name__.rpartition('.')[2]}"


def document() -> dict[str, Any]:
    app = FastAPI()
    for router, prefix in routers():
        app.include_router(router, prefix=prefix)
    return app.openapi()


OPENAPI = document()
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in OPENAPI["paths"].items()
    for method, operation in methods.items()
}


def sample(hint: Any) -> Any:
    """Invent a value of a parameter's type."""
    if hint in (UUID, UUID | None):
        return UUID(int=1)
    if hint is api.Purchase:
        return api.Purchase("topup-1", 100_000, "VND")
    if hint in (int, int | None):
        return 1
    if str(get_origin(hint)).endswith("Literal"):
        return get_args(hint)[0]
    return [UUID(int=1)] if "Iterable" in str(hint) else "2026-12-01"


def call(name: str) -> Call[Any]:
    """Call a function of the API with a value for each of its parameters."""
    function = FUNCTIONS[name]
    hints = get_type_hints(function)
    kinds = {one.name: one.kind for one in inspect.signature(function).parameters.values()}
    given = {p: sample(hints[p]) for p, kind in kinds.items() if kind is not inspect.Parameter.VAR_KEYWORD}
    made: Call[Any] = function(**given)
    return made


def operation_of(made: Call[Any]) -> tuple[str, str]:
    """Return the operation that answers a call; the one without a parameter in its path goes first."""
    fits = [
        (method, path)
        for method, path in sorted(OPERATIONS, key=lambda one: one[1].count("{"))
        if method == made.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), made.path)
    ]
    assert fits, f"no route is at {made.method} {made.path}"
    return fits[0]


def body_schema(operation: dict[str, Any]) -> dict[str, Any] | None:
    if "requestBody" not in operation:
        return None
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema: dict[str, Any] = OPENAPI["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def test_every_route_has_a_function_and_every_function_a_route() -> None:
    reached = {operation_of(call(name)) for name in FUNCTIONS}
    # `log` is one function for both services; the sample asks for one of them.
    reached |= {operation_of(api.log("identity")), operation_of(api.log("promotions"))}
    assert reached == set(OPERATIONS)
    assert len(OPERATIONS) > 40


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_sends_what_its_route_takes(name: str) -> None:
    made = call(name)
    operation = OPERATIONS[operation_of(made)]
    parameters = {(one["in"], one["name"].lower()): one for one in operation.get("parameters", [])}
    sent = {("query", key) for key, _ in made.query} | {("header", key.lower()) for key in made.headers}
    sent -= {("header", "cookie")}  # the device's; OpenAPI does not name it
    assert sent <= set(parameters), "the route does not know these"
    needed = {key for key, one in parameters.items() if one.get("required") and key[0] != "path"}
    assert needed <= sent, "the route needs these"
    schema = body_schema(operation)
    assert (made.body is not None) == (schema is not None)
    if schema is not None and made.body is not None:
        assert set(made.body) <= set(schema["properties"])
        assert name in OPEN or set(schema.get("required", ())) <= set(made.body)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_every_parameter_of_its_route(name: str) -> None:
    made = call(name)
    parameters = OPERATIONS[operation_of(made)].get("parameters", [])
    assert {one["name"] for one in parameters if one["in"] == "query"} == {key for key, _ in made.query}


def test_the_guide_names_the_calls_that_are_not_sent_twice() -> None:
    row = next(line for line in GUIDE.read_text().splitlines() if line.startswith("| `register`"))
    named = set(re.findall(r"`(\w+)`", row))
    assert named == {name for name in FUNCTIONS if not call(name).is_repeatable}
