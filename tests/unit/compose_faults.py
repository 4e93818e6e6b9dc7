"""What is wrong with `deploy/compose.yaml`."""

import re
import shlex
from collections.abc import Collection
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from deployment_faults import (
    PORTS,
    ROLES,
    SERVERS,
    arrows,
    command_faults,
    health_paths,
    image_faults,
    in_flight_faults,
    setting_faults,
)

from earlybird.settings import Settings
from earlybird.stack.production import HTTPS_PORT

Service = dict[str, Any]
_COMMANDS = {"prepare": "operator", "migrate": "operator"}  # who a job is, at the servers
_OPEN = {"front", "outside"}  # networks with a way out


def compose_faults(compose: dict[str, Any], folders: Collection[str]) -> list[str]:
    """Judge the file as YAML reads it; `folders` are those that `earlybird deploy files` makes."""
    faults = [fault for name, one in compose["services"].items() for fault in _service_faults(name, one, folders)]
    return faults + _network_faults(compose) + _address_faults(compose) + _balancer_faults(compose["services"])


def _variables(service: Service) -> dict[str, str]:
    """Return what a service gets in its environment where nobody has set anything."""
    plain = {name: str(value) for name, value in service.get("environment", {}).items()}
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in plain.items()}


def _service_faults(name: str, service: Service, folders: Collection[str]) -> list[str]:
    faults = setting_faults(name, _variables(service))
    faults += image_faults(name, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"]))
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        faults.append(f"{name}: it may write to its image, or keeps rights")
    if service["user"].startswith("0") and service.get("network_mode") != "none":
        faults.append(f"{name}: it is root")
    for volume in service.get("volumes", []):
        if (folder := re.match(r"\$\{EARLYBIRD_FILES:-\./made\}/([\w-]+):\S+:ro$", volume)) is None:
            if "EARLYBIRD_FILES" in volume:
                faults.append(f"{name}: {volume} is no folder to read alone")
        elif folder[1] not in folders:
            faults.append(f"{name}: nobody makes the folder {folder[1]}")
    if service["image"].startswith("earlybird") and (words := _words(service)):
        faults += command_faults(name, words)
    return faults + (_role_faults(name, service) if name in ROLES else [])


def _words(service: Service) -> list[str]:
    command = service.get("command", [])
    if service.get("entrypoint") == ["sh", "-c"]:
        parts = shlex.split(command[0])
        return parts[parts.index("earlybird") + 1 :]
    return [] if "entrypoint" in service else command


def _role_faults(name: str, service: Service) -> list[str]:
    faults = [] if _words(service)[1:2] == [name] else [f"{name}: it serves something else"]
    variables = _variables(service)
    port = int(variables.get(f"EARLYBIRD_{name.upper()}_PORT", PORTS[name]))
    asked = urlsplit(service["healthcheck"]["test"][-1])
    if asked.port != port or asked.path not in health_paths():
        faults.append(f"{name}: its health is asked for at {asked.geturl()}")
    settings = Settings.model_fields
    for time in ("drain_seconds", "shutdown_seconds"):
        variables.setdefault(f"EARLYBIRD_{time.upper()}", str(settings[time].default))
    ending = float(variables["EARLYBIRD_DRAIN_SECONDS"]) + float(variables["EARLYBIRD_SHUTDOWN_SECONDS"])
    if ending >= float(service["stop_grace_period"].removesuffix("s")):
        faults.append(f"{name}: it is killed before it has finished")
    waits = service.get("depends_on", {}).get("migrate", {}).get("condition")
    if name != "pages" and waits != "service_completed_successfully":
        faults.append(f"{name}: it starts before the schema is there")
    return faults


def _networks(service: Service) -> set[str]:
    return set(service.get("networks", []))


def _kind(name: str) -> str:
    """Return what a service is among the arrows: `mongodb-0` is MongoDB."""
    return _COMMANDS.get(name, re.sub(r"-\d$", "", name))


def _network_faults(compose: dict[str, Any]) -> list[str]:
    services = compose["services"]
    wanted = {(one, other) for one, other, _ in arrows()}
    faults = [
        f"the network {name} has a way out" for name, options in compose["networks"].items()
        if name not in _OPEN and not options.get("internal")
    ]  # fmt: skip
    for one, server in product(services, SERVERS):
        reaches = any(
            _networks(services[one]) & _networks(two) for name, two in services.items() if _kind(name) == server
        )
        if _kind(one) in SERVERS:
            if reaches and _kind(one) != server:
                faults.append(f"{one} reaches {server}")
        elif reaches and (_kind(one), server) not in wanted:
            faults.append(f"{one} reaches {server}")
        elif not reaches and (one, server) in wanted:
            faults.append(f"{one} does not reach {server}")
    for one, other, _ in arrows():
        if one in services and other in services and not _networks(services[one]) & _networks(services[other]):
            faults.append(f"{one} does not reach {other}")
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    if list(published) != ["balancer"] or not published["balancer"][0].endswith(f":{HTTPS_PORT}"):
        faults.append("something else than the balancer's HTTPS can be reached from outside")
    return faults


def _address_faults(compose: dict[str, Any]) -> list[str]:
    """Judge whether every address names a service, by a name that it has, and its port."""
    known: dict[str, str] = {}
    for name, service in compose["services"].items():
        aliases = [name]
        if isinstance(networks := service.get("networks"), dict):
            aliases += [alias for options in networks.values() for alias in (options or {}).get("aliases", [])]
        known |= dict.fromkeys(aliases, name)
    faults = []
    for name, service in compose["services"].items():
        for variable, value in _variables(service).items():
            url = urlsplit(value)
            if not variable.startswith("EARLYBIRD_") or not variable.endswith("_URL") or not value:
                continue
            target = known.get(url.hostname or "", "")
            right = [port for _, to, port in arrows() if to == target and (name, to, port) in arrows()]
            if url.scheme != "https" or url.port not in right:
                faults.append(f"{name}: {variable} leads nowhere: {value}")
    return faults


def _balancer_faults(services: dict[str, Service]) -> list[str]:
    words = _words(services["routes"])
    slots, processes = int(_variables(services["identity"])["EARLYBIRD_PASSWORD_SLOTS"]), services["identity"]
    given = int(words[words.index("--in-flight") + 1])
    return in_flight_faults("routes", given, slots, processes["deploy"]["replicas"], 1)
