"""The reference of the APIs as Markdown, made from OpenAPI, as the code tells it, and docs/asyncapi.yaml."""

import json
import pkgutil
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from earlybird import identity, promotions
from earlybird.history import routes as history_routes
from earlybird.infra.http.app import create_web_app

ASYNCAPI = Path(__file__).parents[1] / "asyncapi.yaml"
Json = dict[str, Any]


def openapi(service: ModuleType) -> Json:
    """Return the OpenAPI of a service: all its routes, without its servers."""
    name = service.__name__.rpartition(".")[2]
    app = create_web_app(name, version("earlybird"))
    for found in pkgutil.walk_packages(service.__path__, f"{service.__name__}."):
        if found.name.endswith(".routes"):
            app.include_router(import_module(found.name).router)
    app.include_router(history_routes.router, prefix=f"/audit-log/{name}")
    return app.openapi()


def http_page(document: Json, about: str) -> str:
    """Return the page of one service."""
    shown = [f"# HTTP: {document['info']['title'].removeprefix('earlybird ')}", about]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            shown += _operation(document, method, path, operation)
    return "\n\n".join(shown) + "\n"


def events_page(document: Json) -> str:
    """Return the page of the events."""
    shown = ["# Events", document["info"]["description"].strip()]
    shown.append("The source is [asyncapi.yaml](../asyncapi.yaml) (AsyncAPI 3).")
    for name, channel in document["channels"].items():
        shown += [f"## Stream `{name}`", f"Subject: `{channel['address']}`", channel["description"].strip()]
        for reference in channel["messages"].values():
            shown += _event(document, _found(document, reference))
    return "\n\n".join(shown) + "\n"


def _operation(document: Json, method: str, path: str, operation: Json) -> list[str]:
    shown = [
        f"## {method.upper()} {path}",
        f"**{operation['summary']}.** {operation.get('description', '')}".strip(),
    ]
    if "security" in operation:
        shown.append("Needs `Authorization: Bearer <token>`.")
    if parameters := operation.get("parameters"):
        rows = [
            [f"`{one['name']}`", one["in"], _yes(one.get("required")), *_type_and_meaning(document, one["schema"])]
            for one in parameters
        ]
        shown.append(_table(["parameter", "in", "required", "type", "meaning"], rows))
    if body := operation.get("requestBody"):
        schema = _found(document, body["content"]["application/json"]["schema"])
        shown += ["Request:", _fields(document, schema), _code(_example(document, schema))]
    for status, answer in sorted(operation["responses"].items()):
        content = answer.get("content", {}).get("application/json", {})
        if status < "300" and "schema" in content:
            shown += [f"Answer {status}:", _code(_example(document, content["schema"]))]
    refusals = [
        [code, answer["description"]] for code, answer in sorted(operation["responses"].items()) if code >= "300"
    ]
    return [*shown, *([_table(["refused with", "when"], refusals)] if refusals else [])]


def _event(document: Json, message: Json) -> list[str]:
    payload = message["payload"]["properties"]
    data = payload["data"]
    parts = [data, *(_found(document, part) for part in data.get("allOf", []))]
    fields = {name: schema for part in parts for name, schema in part.get("properties", {}).items()}
    shown = [
        f"### {message['title']}",
        f"`{message['name']}`",
        "`data`:",
        _fields(document, {"properties": fields}),
    ]
    return [*shown, *(_code(example["payload"]) for example in message["examples"])]


def _fields(document: Json, schema: Json) -> str:
    required = schema.get("required")
    heads = ["field", *(["required"] if required is not None else []), "type", "meaning"]
    rows = [
        [
            f"`{name}`",
            *([_yes(name in required)] if required is not None else []),
            *_type_and_meaning(document, one),
        ]
        for name, one in schema["properties"].items()
    ]
    return _table(heads, rows)


def _type_and_meaning(document: Json, schema: Json) -> list[str]:
    whole = _found(document, schema)
    notes = [whole.get("description", "")]
    if "minimum" in whole or "maximum" in whole:
        notes.append(f"from {whole.get('minimum', '…')} to {whole.get('maximum', '…')}")
    if whole.get("default") is not None:
        notes.append(f"default `{json.dumps(whole['default'])}`")
    return [_type(document, whole), "; ".join(filter(None, notes))]


def _type(document: Json, schema: Json) -> str:
    schema = _found(document, schema)
    if kinds := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(document, kind) for kind in kinds))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(document, schema['items'])}"
    return str(schema.get("format") or schema.get("type", "any"))


def _example(document: Json, schema: Json) -> Any:
    """Return what a schema's own example says; where there is none, one made of its parts."""
    schema = _found(document, schema)
    for told in (schema.get("examples"), [schema["example"]] if "example" in schema else None):
        if told:
            return told[0]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("default") is not None:
        return schema["default"]
    if kinds := schema.get("anyOf") or schema.get("oneOf"):
        return _example(document, kinds[0])
    if "properties" in schema:
        return {name: _example(document, one) for name, one in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    by_format = {"date-time": "2026-12-01T09:00:00.000Z", "uuid": "019ab2f0-6c1e-7d3a-9b52-3f1f0c6a7e11"}
    by_type = {"integer": 1, "number": 1, "boolean": True, "object": {}}
    return by_format.get(schema.get("format", "")) or by_type.get(schema.get("type", ""), "…")


def _found(document: Json, schema: Json) -> Json:
    """Follow a reference; what stands beside it, such as a description, wins."""
    while "$ref" in schema:
        found = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        schema = found | {name: value for name, value in schema.items() if name != "$ref"}
    return schema


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [
        heads,
        ["---"] * len(heads),
        *([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _yes(claim: object) -> str:
    return "yes" if claim else ""


def pages() -> dict[str, str]:
    """Return every page of the reference by its file name."""
    about = "Made from the code's own OpenAPI. Of a running deployment: `/docs`, and `/openapi/{}.json`."
    services = {"identity": identity, "promotions": promotions}
    made = {f"{name}.md": http_page(openapi(service), about.format(name)) for name, service in services.items()}
    return made | {"events.md": events_page(yaml.safe_load(ASYNCAPI.read_text()))}
