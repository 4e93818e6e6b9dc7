"""`deploy/` holds to the code: to its settings, commands, ports, permissions, and ARCHITECTURE.md's arrows."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_faults import compose_faults
from deployment_faults import COMPONENT, OUTSIDE, arrows, dockerfile_faults, walk
from manifest_faults import manifest_faults, of_kind, pods_faults

from earlybird.stack.production import write_files
from kustomize import rendered

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
METRICS = (ROOT / "docs" / "metrics.md").read_text()
OVERLAYS = ["small", "large"]
Break = Callable[[Any], object]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The folders that `earlybird deploy files` makes."""
    return write_files(tmp_path_factory.mktemp("made") / "made", ["localhost"])


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return copy.deepcopy(loaded)  # what YAML shares by `&` and `*` would break together


def overlay(name: str) -> list[dict[str, Any]]:
    return copy.deepcopy(rendered(KUBERNETES / "overlays" / name))


def test_compose_holds_to_the_code(compose: dict[str, Any], folders: list[str]) -> None:
    assert compose_faults(compose, folders) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_manifests_hold_to_the_code(name: str, folders: list[str]) -> None:
    assert manifest_faults(overlay(name), folders, METRICS) == []


def test_the_courier_holds_to_the_code(folders: list[str]) -> None:
    documents = rendered(KUBERNETES / "overlays" / "small", "../../courier")
    assert {"courier", "identity"} <= set(of_kind(documents, "Deployment"))
    assert manifest_faults(documents, folders, METRICS) == []


@pytest.mark.parametrize("job", ["restore", "overlays/small/migration", "overlays/large/migration"])
def test_the_jobs_hold_to_the_code(job: str, folders: list[str]) -> None:
    assert pods_faults(rendered(KUBERNETES / job), folders) == []


def test_the_dockerfile_holds_to_the_code() -> None:
    assert dockerfile_faults((DEPLOY / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()) == []


def test_the_roll_out_waits_for_the_schema_before_any_role() -> None:
    steps = [line for line in (KUBERNETES / "roll-out").read_text().splitlines() if line.startswith("kubectl")]
    order = [
        next(i for i, step in enumerate(steps) if part in step)
        for part in ("/migration", "wait --for", '"$overlay"')
    ]
    assert order == sorted(order)


# ARCHITECTURE.md's picture: what each of its boxes is among the processes.
BOXES = {
    "client": OUTSIDE, "browser": OUTSIDE, "envoy": "balancer", "pages": "pages", "identity": "identity",
    "promotions": "promotions", "sequencer": "relay", "relay": "relay", "granter": "granter",
    "publisher": "granter", "idb": "mongodb", "ledger": "mongodb", "pdb": "mongodb", "cache": "valkey",
    "stream": "nats", "events": "nats", "webhooks": "webhooks", "others": OUTSIDE,
}  # fmt: skip


def test_every_arrow_of_the_picture_may_be_gone() -> None:
    picture = re.search(r"```mermaid\nflowchart LR\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    assert picture
    drawn = re.findall(r"^\s*(\w+)(?:\S*)? -\.?->(?:\|[^|]*\|)? ?(\w+)", picture[1], re.MULTILINE)
    pairs = {(BOXES[one], BOXES[other]) for one, other in drawn}
    allowed = {(one, other) for one, other, _ in arrows()}
    assert len(pairs) > 10, "the picture is read"
    # What a server sends, it sends to whoever has asked for it.
    allowed |= {("webhooks", OUTSIDE)}
    assert {pair for pair in pairs if pair not in allowed and pair[::-1] not in allowed} == set()


def one(documents: list[dict[str, Any]], kind: str, name: str) -> Any:
    return of_kind(documents, kind)[name]


def pod(documents: list[dict[str, Any]], role: str) -> Any:
    return one(documents, "Deployment", role)["spec"]["template"]["spec"]


def senders(documents: list[dict[str, Any]], server: str) -> Any:
    return one(documents, "NetworkPolicy", f"to-{server}")["spec"]["podSelector"]["matchExpressions"][0]["values"]


def container(documents: list[dict[str, Any]], role: str) -> Any:
    return pod(documents, role)["containers"][0]


MANIFEST_BREAKS: list[tuple[str, Break]] = [
    ("EARLYBIRD_PASSWORD_SLOT is no setting",
     lambda d: container(d, "identity")["env"].append({"name": "EARLYBIRD_PASSWORD_SLOT", "value": "2"})),
    ("stream_replicas is refused",
     lambda d: one(d, "ConfigMap", "settings")["data"].update(EARLYBIRD_STREAM_REPLICAS="many")),
    ("relay: it serves something else", lambda d: container(d, "relay").update(args=["serve", "granter"])),
    ("there is no role", lambda d: container(d, "relay").update(args=["serve", "rely"])),
    ("granter: it listens on 8004", lambda d: container(d, "granter")["ports"][0].update(containerPort=8003)),
    ("its livenessProbe asks for HTTPS /readyz",
     lambda d: container(d, "identity")["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("its readinessProbe asks for HTTP /readyz",
     lambda d: container(d, "pages")["readinessProbe"]["httpGet"].update(scheme="HTTP")),
    ("its startupProbe asks at another port",
     lambda d: container(d, "pages")["startupProbe"]["httpGet"].update(port=8001)),
    ("promotions: it is killed before it has finished",
     lambda d: pod(d, "promotions").update(terminationGracePeriodSeconds=20)),
    ("it may write to its image",
     lambda d: container(d, "balancer")["securityContext"].update(readOnlyRootFilesystem=False)),
    ("no bound on its memory", lambda d: container(d, "granter")["resources"]["limits"].pop("memory")),
    ("nobody makes the secret earlybird-relays",
     lambda d: pod(d, "relay")["volumes"][0]["secret"].update(
         secretName="earlybird-relays")),
    ("it holds earlybird-operator, which is another's",
     lambda d: pod(d, "relay")["volumes"][0]["secret"].update(
         secretName="earlybird-operator")),
    ("pages → mongodb:27017 is sent, and is no arrow",
     lambda d: senders(d, "mongodb").append(
         "pages")),
    ("relay → nats:4222 is not sent",
     lambda d: senders(d, "nats").remove(
         "relay")),
    ("outside → balancer:8444 is received, and is no arrow",
     lambda d: one(d, "NetworkPolicy", "balancer")["spec"]["ingress"][0]["ports"].append({"port": 8444})),
    ("promotions → identity:8001 is not received",
     lambda d: one(d, "NetworkPolicy", "identity")["spec"]["ingress"][0]["from"].pop()),
    ("who is not named may speak to anybody",
     lambda d: one(d, "NetworkPolicy", "nobody-else")["spec"].update(policyTypes=["Ingress"])),
    ("EARLYBIRD_ACCOUNT_URL leads nowhere",
     lambda d: container(d, "promotions")["env"][1].update(value="https://identity-balanced:8002/account")),
    ("the balancer finds no pages", lambda d: one(d, "Service", "pages")["spec"]["ports"][0].update(port=8007)),
    ("the inside listener is not for the pages alone",
     lambda d: one(d, "Service", "balancer")["spec"]["ports"].append({"port": 8444, "targetPort": "inside"})),
    ("granter: no budget", lambda d: d.remove(one(d, "PodDisruptionBudget", "granter"))),
    ("there is no metric earlybird_hash_queue",
     lambda d: one(d, "HorizontalPodAutoscaler", "identity")["spec"]["metrics"][0]["pods"]["metric"].update(
         name="earlybird_hash_queue")),
    ("logins at once, for these slots it is",
     lambda d: one(d, "HorizontalPodAutoscaler", "identity")["spec"].update(maxReplicas=200)),
    ("it is not spread",
     lambda d: pod(d, "relay")["topologySpreadConstraints"][0].update(
         labelSelector={"matchLabels": {COMPONENT: "granter"}})),
    ("is an image that we do not know", lambda d: container(d, "balancer").update(image="caddy:2")),
    ("that was tested", lambda d: container(d, "balancer").update(image="envoyproxy/envoy:distroless-v1.29.0")),
    ("there is no command",
     lambda d: next(node for node in walk(one(d, "CronJob", "backup")) if "command" in node).update(
         command=["sh", "-c", "exec earlybird back-up /backups"])),
]  # fmt: skip


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize(("said", "harm"), MANIFEST_BREAKS, ids=[said for said, _ in MANIFEST_BREAKS])
def test_a_manifest_that_was_broken_is_noticed(said: str, harm: Break, name: str, folders: list[str]) -> None:
    documents = overlay(name)
    harm(documents)
    assert any(said in fault for fault in manifest_faults(documents, folders, METRICS))


COMPOSE_BREAKS: list[tuple[str, Break]] = [
    ("EARLYBIRD_VERFY is no setting",
     lambda c: c["services"]["identity"]["environment"].update(EARLYBIRD_VERFY="email")),
    ("verify is refused", lambda c: c["services"]["identity"]["environment"].update(EARLYBIRD_VERIFY="mail")),
    ("identity: its health is asked for",
     lambda c: c["services"]["identity"]["healthcheck"]["test"].__setitem__(-1, "https://localhost:8002/readyz")),
    ("relay: its health is asked for",
     lambda c: c["services"]["relay"]["healthcheck"]["test"].__setitem__(-1, "https://localhost:8003/ready")),
    ("relay: it serves something else", lambda c: c["services"]["relay"].update(command=["serve", "granter"])),
    ("granter: it starts before the schema is there", lambda c: c["services"]["granter"].pop("depends_on")),
    ("pages: it is killed before", lambda c: c["services"]["pages"].update(stop_grace_period="10s")),
    ("pages reaches mongodb", lambda c: c["services"]["pages"]["networks"].append("mongodb")),
    ("balancer reaches valkey", lambda c: c["services"]["balancer"]["networks"].update(valkey={})),
    ("granter does not reach nats", lambda c: c["services"]["granter"]["networks"].remove("nats")),
    ("balancer does not reach pages", lambda c: c["services"]["pages"].update(networks=["front2"])),
    ("the network mongodb has a way out", lambda c: c["networks"]["mongodb"].pop("internal")),
    ("something else than the balancer's HTTPS", lambda c: c["services"]["valkey"].update(ports=["6379:6379"])),
    ("EARLYBIRD_API_URL leads nowhere",
     lambda c: c["services"]["pages"]["environment"].update(EARLYBIRD_API_URL="https://balancer-inside:8443")),
    ("EARLYBIRD_JWKS_URL leads nowhere",
     lambda c: c["services"]["promotions"]["environment"].update(EARLYBIRD_JWKS_URL="http://identity:8001/x")),
    ("nobody makes the folder", lambda c: c["services"]["valkey"].update(
        volumes=["${EARLYBIRD_FILES:-./made}/cache:/run/earlybird:ro"])),
    ("is no folder to read alone", lambda c: c["services"]["valkey"].update(
        volumes=["${EARLYBIRD_FILES:-./made}/valkey:/run/earlybird"])),
    ("valkey: it is root", lambda c: c["services"]["valkey"].update(user="0:0")),
    ("nats-0: it may write to its image", lambda c: c["services"]["nats-0"].pop("read_only")),
    ("logins at once", lambda c: c["services"]["identity"]["deploy"].update(replicas=3)),
    ("there is no command", lambda c: c["services"]["prepare"].update(command=["deploy", "mongo"])),
    ("that was tested", lambda c: c["services"]["nats-1"].update(image="nats:2.9-alpine")),
]  # fmt: skip


@pytest.mark.parametrize(("said", "harm"), COMPOSE_BREAKS, ids=[said for said, _ in COMPOSE_BREAKS])
def test_a_compose_file_that_was_broken_is_noticed(
    said: str, harm: Break, compose: dict[str, Any], folders: list[str]
) -> None:
    harm(compose)
    assert any(said in fault for fault in compose_faults(compose, folders))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("USER 10001:10001", "USER root", "is root"),
        ("USER 10001:10001", "USER earlybird", "is no number"),
        ("USER 10001:10001", "RUN pip install x\nUSER 10001:10001", "installs something"),
        ("install --require-hashes --only-binary", "install --only-binary", "without hashes"),
        ("EARLYBIRD_HOST=", "EARLYBIRD_HOSTS=", "is no setting"),
        ("COPY src src", "COPY tests src", ".dockerignore keeps tests away"),
    ],
)
def test_a_dockerfile_that_was_broken_is_noticed(old: str, new: str, said: str) -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert old in text
    faults = dockerfile_faults(text.replace(old, new), (ROOT / ".dockerignore").read_text())
    assert any(said in fault for fault in faults)
