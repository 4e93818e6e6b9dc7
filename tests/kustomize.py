"""What `kubectl kustomize` makes of `deploy/kubernetes`, for machines without kubectl: the part that we use of it.

That is resources, components, generated ConfigMaps, strategic merge patches and images. Neither namespaces nor
common labels are added, and no name gets a suffix. A test compares it with kubectl's own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
_KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "labels",
    "resources",
    "components",
    "configMapGenerator",
    "patches",
    "images",
}


def rendered(folder: Path, *components: str) -> list[Document]:
    """Return the documents of an overlay, as if it also named these components."""
    found: list[Document] = []
    _add(folder, found, components)
    return found


def _add(folder: Path, found: list[Document], components: Sequence[str] = ()) -> None:
    described: Document = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(described) <= _KNOWN, f"{folder} uses more of kustomize than is known here"
    for name in described.get("resources", []):
        path = folder / name
        if path.is_dir():
            _add(path, found)
        else:
            found.extend(yaml.safe_load_all(path.read_text()))
    for name in (*described.get("components", []), *components):
        _add(folder / name, found)
    for made in described.get("configMapGenerator", []):
        data = dict(literal.split("=", 1) for literal in made["literals"])
        fresh: Document = {"kind": "ConfigMap", "metadata": {"name": made["name"]}, "data": data}
        if made.get("behavior") == "merge":
            _patch(found, fresh)
        else:
            found.append(fresh)
    for patch in described.get("patches", []):
        for document in yaml.safe_load_all((folder / patch["path"]).read_text()):
            _patch(found, document)
    for image in described.get("images", []):
        for document in found:
            _name_image(document, image["name"], image["newTag"])


def _patch(found: list[Document], patch: Document) -> None:
    [at] = [i for i, one in enumerate(found) if _key(one) == _key(patch)]
    found[at] = _merged(found[at], patch)


def _key(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def _merged(old: Any, new: Any) -> Any:
    """Merge as Kubernetes does: objects by field, lists of named objects by name, everything else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: _merged(old[key], new[key]) if key in old and key in new else {**old, **new}[key]
                for key in {**old, **new}}  # fmt: skip
    if _is_named(old) and _is_named(new):
        names = {one["name"]: one for one in new}
        kept = [_merged(one, names.pop(one["name"])) if one["name"] in names else one for one in old]
        return [*names.values(), *kept]
    return new


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value)


def _name_image(node: Any, name: str, tag: str) -> None:
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _name_image(child, name, tag)
    if isinstance(node, dict) and node.get("image") == name:
        node["image"] = f"{name}:{tag}"
