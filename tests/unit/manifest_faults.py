"""What is wrong with the Kubernetes manifests of an overlay."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from deployment_faults import (
    COMPONENT,
    MONITORING,
    OUTSIDE,
    PORTS,
    ROLES,
    SERVERS,
    Arrow,
    arrows,
    command_faults,
    health_paths,
    image_faults,
    in_flight_faults,
    setting_faults,
    walk,
    words_of,
)

from earlybird.settings import Settings
from earlybird.stack.production import INSIDE_PORT, NATS_CLUSTER_PORT

Document = dict[str, Any]
_OUT_PORTS = (465, 587, 443)  # SMTP with TLS from the start, STARTTLS; the SMS gateway, and receivers of webhooks
_HEALTH = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def manifest_faults(documents: Sequence[Document], folders: Collection[str], metrics: str) -> list[str]:
    """Judge the documents of an overlay; `folders` become Secrets, `metrics` is the page that names them."""
    return [
        *pods_faults(documents, folders), *_role_faults(documents), *_arrow_faults(documents),
        *_address_faults(documents), *_budget_faults(documents), *_scaling_faults(documents, metrics),
    ]  # fmt: skip


def pods_faults(documents: Sequence[Document], folders: Collection[str]) -> list[str]:
    """Judge what every pod is, and may."""
    return [fault for name, pod in _pods(documents) for fault in _pod_faults(name, pod, documents, folders)]


def of_kind(documents: Sequence[Document], *kinds: str) -> dict[str, Document]:
    """Return the documents of these kinds, by name."""
    return {one["metadata"]["name"]: one for one in documents if one["kind"] in kinds}


def _pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    for one in documents:
        for node in walk(one):
            if "template" in node and "containers" in node["template"].get("spec", {}):
                yield one["metadata"]["name"], node["template"]


def _containers(pod: Document) -> list[Document]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _variables(container: Document, documents: Sequence[Document]) -> dict[str, str]:
    maps = of_kind(documents, "ConfigMap")
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {one["name"]: one.get("value", "") for one in container.get("env", [])}


def _pod_faults(
    name: str, pod: Document, documents: Sequence[Document], folders: Collection[str]
) -> Iterator[str]:
    spec = pod["spec"]
    if (
        not spec.get("securityContext", {}).get("runAsNonRoot")
        or spec.get("automountServiceAccountToken") is not False
    ):
        yield f"{name}: it may be root, or speak to Kubernetes"
    for volume in spec.get("volumes", []):
        secret = volume.get("secret", {}).get("secretName", "")
        if secret and secret.removeprefix("earlybird-") not in folders:
            yield f"{name}: nobody makes the secret {secret}"
        if secret and secret not in {f"earlybird-{who}" for who in _secrets_of(name, pod)}:
            yield f"{name}: it holds {secret}, which is another's"
    mounted = {volume["name"] for volume in [*spec.get("volumes", []), {"name": "data"}]}
    for container in _containers(pod):
        where = f"{name}/{container['name']}"
        context = container.get("securityContext", {})
        if not context.get("readOnlyRootFilesystem") or context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: it may write to its image, or keeps rights"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: it may get rights"
        resources = container.get("resources", {})
        if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
            yield f"{where}: no bound on its memory, or nothing asked for"
        yield from setting_faults(where, _variables(container, documents))
        yield from image_faults(where, container["image"])
        yield from (
            f"{where}: {one['name']} is no volume"
            for one in container["volumeMounts"]
            if one["name"] not in mounted
        )
        if container["image"].startswith("earlybird") and (words := words_of(container)):
            yield from command_faults(where, words)


def _secrets_of(name: str, pod: Document) -> set[str]:
    who = {pod["metadata"]["labels"][COMPONENT]}
    return who | {"identity": {"signing-keys"}, "migrate": {"mongodb"}}.get(name, set())


def _role_faults(documents: Sequence[Document]) -> Iterator[str]:
    deployments = of_kind(documents, "Deployment")
    for role in ROLES:
        if role in deployments:
            pod = deployments[role]["spec"]["template"]
            variables = _variables(pod["spec"]["containers"][0], documents)
            yield from _served_faults(role, pod["spec"]["containers"][0], variables)
            yield from _life_faults(role, pod["spec"], variables)
        elif role != "courier":
            yield f"there is no {role}"


def _served_faults(role: str, container: Document, variables: dict[str, str]) -> Iterator[str]:
    if container.get("args") != ["serve", role]:
        yield f"{role}: it serves something else"
    port = int(variables.get(f"EARLYBIRD_{role.upper()}_PORT", PORTS[role]))
    named = {one["name"]: one["containerPort"] for one in container["ports"]}
    if port not in named.values():
        yield f"{role}: it listens on {port}"
    scheme = "HTTPS" if variables.get("EARLYBIRD_HTTP_CERTIFICATE_FILE") else "HTTP"
    for probe, path in _HEALTH.items():
        asked = container[probe].get("httpGet", {})
        if path not in health_paths() or asked.get("path") != path or asked.get("scheme") != scheme:
            yield f"{role}: its {probe} asks for {asked.get('scheme')} {asked.get('path')}"
        if named.get(asked.get("port"), asked.get("port")) != port:
            yield f"{role}: its {probe} asks at another port"


def _life_faults(role: str, pod: Document, variables: dict[str, str]) -> Iterator[str]:
    fields = Settings.model_fields
    times = ("drain_seconds", "shutdown_seconds")
    ending = sum(float(variables.get(f"EARLYBIRD_{time.upper()}", fields[time].default)) for time in times)
    if ending >= pod.get("terminationGracePeriodSeconds", 30):
        yield f"{role}: it is killed before it has finished"
    spread = [node["labelSelector"] for node in walk(pod) if "labelSelector" in node]
    if not spread or any(one["matchLabels"] != {COMPONENT: role} for one in spread):
        yield f"{role}: it is not spread over machines and zones"


def _arrow_faults(documents: Sequence[Document]) -> Iterator[str]:
    policies = of_kind(documents, "NetworkPolicy").values()
    if not any(
        one["spec"]["podSelector"] == {} and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        for one in policies
    ):
        yield "who is not named may speak to anybody"
    present = {pod["metadata"]["labels"][COMPONENT] for _, pod in _pods(documents)}
    # Where servers are somebody else's, a service of theirs that is not there has none of these arrows.
    ends = {*present, *SERVERS, OUTSIDE, MONITORING, "operator"}
    wanted = {arrow for arrow in arrows() if arrow[0] in ends}
    wanted |= {(MONITORING, role, PORTS[role]) for role in ROLES if role in present}
    wanted |= {(role, OUTSIDE, port) for port in _OUT_PORTS for role in ("courier", "webhooks") if role in present}
    if "mongodb" in present:
        wanted |= {("mongodb", "mongodb", SERVERS["mongodb"]), ("nats", "nats", NATS_CLUSTER_PORT)}
    away, near = _allowed(policies, "egress"), _allowed(policies, "ingress")
    away = {arrow for arrow in away if arrow[0] in ends}
    near = {arrow for arrow in near if arrow[0] in ends}
    for kind, allowed, judged in (
        ("sent", away, {arrow for arrow in wanted if arrow[0] not in (OUTSIDE, MONITORING)}),
        ("received", near, {arrow for arrow in wanted if arrow[1] in present}),
    ):
        yield from (
            f"{one} → {other}:{port} is {kind}, and is no arrow" for one, other, port in sorted(allowed - judged)
        )
        yield from (f"{one} → {other}:{port} is not {kind}" for one, other, port in sorted(judged - allowed))


def _allowed(policies: Collection[Document], direction: str) -> set[Arrow]:
    found: set[Arrow] = set()
    for policy in policies:
        spec = policy["spec"]
        selector = spec["podSelector"]
        own = selector.get("matchLabels", {}).values() or [
            value for match in selector.get("matchExpressions", []) for value in match["values"]
        ]
        for rule in spec.get(direction, []):
            peers = rule.get("to" if direction == "egress" else "from", [None])
            ports = [one["port"] for one in rule["ports"]]
            for me in own:
                for peer in peers:
                    for port in ports:
                        other = _peer(peer, port)
                        found.add((me, other, port) if direction == "egress" else (other, me, port))
    return found


def _peer(peer: Document | None, port: int) -> str:
    if peer is None:
        return OUTSIDE
    if "ipBlock" in peer:
        return next((server for server, own in SERVERS.items() if own == port), OUTSIDE)
    if "namespaceSelector" in peer:
        return str(peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
    return str(peer["podSelector"]["matchLabels"][COMPONENT])


def _address_faults(documents: Sequence[Document]) -> Iterator[str]:
    """Judge whether every address that a setting names, and the balancer's, is a Service with that port."""
    served: dict[tuple[str, int], str] = {}
    for name, service in of_kind(documents, "Service").items():
        to = service["spec"]["selector"][COMPONENT]
        served |= {(name, port["port"]): to for port in service["spec"]["ports"]}
    for name, pod in _pods(documents):
        for container in pod["spec"]["containers"]:
            for variable, value in _variables(container, documents).items():
                if not re.fullmatch(r"EARLYBIRD_(API|JWKS|ACCOUNT|RECEIPT)_URL", variable):
                    continue
                url = urlsplit(value)
                to = served.get((url.hostname or "", url.port or 0))
                if url.scheme != "https" or to is None or (name, to) not in {(a, b) for a, b, _ in arrows()}:
                    yield f"{name}: {variable} leads nowhere: {value}"
    for one, other, port in arrows():
        if one == "balancer" and served.get((other, port)) != other:
            yield f"the balancer finds no {other} at port {port}"
    if served.get(("balancer-inside", INSIDE_PORT)) != "balancer" or INSIDE_PORT in {
        p for n, p in served if n == "balancer"
    }:
        yield "the inside listener is not for the pages alone"


def _budget_faults(documents: Sequence[Document]) -> Iterator[str]:
    budgets = of_kind(documents, "PodDisruptionBudget")
    for name in of_kind(documents, "Deployment", "StatefulSet"):
        if name == "valkey":
            continue  # one cache, which may go
        budget = budgets.get(name, {}).get("spec", {})
        if budget.get("selector") != {"matchLabels": {COMPONENT: name}} or budget.get("maxUnavailable") != 1:
            yield f"{name}: no budget lets one of it go at a time"


def _scaling_faults(documents: Sequence[Document], metrics: str) -> Iterator[str]:
    scalers, deployments = of_kind(documents, "HorizontalPodAutoscaler"), of_kind(documents, "Deployment")
    for name, scaler in scalers.items():
        if scaler["spec"]["scaleTargetRef"]["name"] not in deployments:
            yield f"{name}: what is scaled is not there"
        for node in walk(scaler["spec"]):
            if "metric" in node and f"| `{node['metric']['name']}` |" not in metrics:
                yield f"{name}: there is no metric {node['metric']['name']}"
        if scaler["spec"]["minReplicas"] < 2:
            yield f"{name}: one process is none while it is renewed"
    [identity] = deployments["identity"]["spec"]["template"]["spec"]["containers"]
    slots = int(_variables(identity, documents)["EARLYBIRD_PASSWORD_SLOTS"])
    queue = [node for node in walk(scalers["identity"]) if "pods" in node]
    if [float(one["pods"]["target"]["averageValue"]) for one in queue] != [2 * slots]:
        yield "identity: it is not scaled by its hashing queue, at twice its slots"
    balancer = deployments["balancer"]["spec"]
    routes = balancer["template"]["spec"]["initContainers"][0]
    given = int(_variables(routes, documents)["IN_FLIGHT"])
    most = scalers["identity"]["spec"]["maxReplicas"]
    yield from in_flight_faults("balancer", given, slots, most, balancer["replicas"])
