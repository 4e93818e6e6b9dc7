"""`deploy/` as its readers' tools see it: hadolint, the schemas of Compose and Kubernetes, kubectl, Envoy, NATS.

The first four come with `make manifests`, and kubectl from the machine; a test whose tool is not there is skipped.
"""

import asyncio
import json
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.x509 import load_pem_x509_certificate

from earlybird.cli.main import main
from earlybird.settings import Settings
from earlybird.stack import certificates
from earlybird.stack.binaries import find_envoy, find_nats_server
from earlybird.stack.production import MOUNTED, envoy_options, write_files
from kustomize import rendered

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KUSTOMIZATIONS = [
    "overlays/small",
    "overlays/large",
    "overlays/small/migration",
    "overlays/large/migration",
    "restore",
]


def tool(name: str) -> str:
    """Find a program beside our own, or on the machine; without it, skip the test."""
    found = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def said(*command: str | Path) -> str:
    """Run a program that judges something; return what it says. It must be content."""
    out, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=out, stderr=both)
    text = (await process.communicate())[0].decode()
    assert process.returncode == 0, text
    return text


async def built(kustomization: str) -> str:
    return await said(tool("kubectl"), "kustomize", KUBERNETES / kustomization)


async def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    await said(tool("hadolint"), DEPLOY / "Dockerfile")


async def test_the_compose_file_is_of_the_published_schema() -> None:
    await said(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
async def test_every_manifest_is_of_kubernetes_own_schema(kustomization: str, tmp_path: Path) -> None:
    judge = tool("kubernetes-validate")
    # Ours, so that it can be judged without kubectl.
    documents = [one for one in rendered(KUBERNETES / kustomization) if "apiVersion" in one]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(documents))
    await said(judge, "--strict", tmp_path / "all.yaml")
    if shutil.which("kubectl"):
        (tmp_path / "built.yaml").write_text(await built(kustomization))
        await said(judge, "--strict", tmp_path / "built.yaml")


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
async def test_kustomize_builds_what_we_judge(kustomization: str) -> None:
    theirs = [plain(one) for one in yaml.safe_load_all(await built(kustomization))]
    ours = [plain(one) for one in rendered(KUBERNETES / kustomization)]
    order = [json.dumps(one, sort_keys=True) for one in theirs]
    assert sorted(json.dumps(one, sort_keys=True) for one in ours) == sorted(order)


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what kustomize adds: the namespace, the common label, and the suffix of a generated name."""
    text = json.dumps(document)
    if "settings-" in text:
        start = text.index("settings-")
        text = text.replace(text[start : start + len("settings-0123456789")], "settings")
    left: dict[str, Any] = json.loads(text)
    left.pop("apiVersion", None)
    left["metadata"].pop("namespace", None)
    labels = left["metadata"].get("labels", {})
    labels.pop("app.kubernetes.io/part-of", None)
    if not labels:
        left["metadata"].pop("labels", None)
    return left


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What `earlybird deploy files` makes, with the paths of this machine in place of a container's."""
    folder = tmp_path / "made"
    write_files(folder, ["shop.example"])
    for part in ("nats", "balancer"):
        for file in (folder / part).glob("*.conf"):
            file.write_text(
                file.read_text().replace(str(MOUNTED), str(folder / part)).replace("/data", str(tmp_path))
            )
    return folder


async def test_envoy_takes_the_routes_of_a_deployment(made: Path, tmp_path: Path) -> None:
    options = json.dumps(envoy_options(Settings(), 64, 1)).replace(str(MOUNTED), str(made / "balancer"))
    (tmp_path / "envoy.json").write_text(options)
    assert "OK" in await said(find_envoy(), "--mode", "validate", "--config-path", tmp_path / "envoy.json")


async def test_nats_takes_its_configuration(made: Path) -> None:
    await said(find_nats_server(), "-t", "-c", made / "nats" / "nats.conf", "--name", "nats-0")


def test_what_is_made_stays_and_is_our_own_alone(made: Path) -> None:
    def kept() -> dict[str, bytes]:
        names = ("ca.pem", "secrets.json", "identity/tls.pem", "balancer/public.pem", "keys/keys.json")
        return {name: (made / name).read_bytes() for name in names}

    before = kept()
    write_files(made, ["shop.example"])
    assert kept() == before
    assert made.stat().st_mode & 0o077 == 0, "nobody else of this machine gets into the folder"
    write_files(made, ["shop.example", "www.shop.example"])
    assert {name for name, content in kept().items() if content != before[name]} == {"balancer/public.pem"}


def test_a_certificate_that_is_about_to_expire_is_made_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made / "relay" / "tls.pem"
    file.unlink()
    monkeypatch.setattr(certificates, "_DAYS", 29)
    write_files(made, ["shop.example"])
    old = load_pem_x509_certificate(file.read_bytes())
    monkeypatch.undo()
    write_files(made, ["shop.example"])
    assert load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc > old.not_valid_after_utc


def test_a_rotated_key_is_handed_out_beside_the_old_one(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys(folder: str) -> set[str]:
        return {file.name for file in (made / folder).glob("*.pem")}

    before = keys("signing-keys")
    monkeypatch.setenv("EARLYBIRD_SIGNING_KEY_FOLDER", str(made / "keys"))
    monkeypatch.setenv("EARLYBIRD_MONGODB_URI", "mongodb://none")
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["keys", "rotate", "--in", "1800"])
    write_files(made, ["shop.example"])
    assert keys("signing-keys") == keys("keys") > before


def test_an_address_that_somebody_put_there_stays(made: Path) -> None:
    (made / "relay" / "EARLYBIRD_NATS_URL").write_text("tls://relay@nats.example")
    write_files(made, ["shop.example"])
    assert (made / "relay" / "EARLYBIRD_NATS_URL").read_text() == "tls://relay@nats.example"


def test_a_certificate_of_somebody_else_is_left_alone(made: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "other", ["shop.example"])
    public = made / "balancer" / "public.pem"
    public.write_bytes((tmp_path / "other" / "balancer" / "public.pem").read_bytes())
    issued = load_pem_x509_certificate(public.read_bytes())
    write_files(made, ["www.shop.example"])
    assert load_pem_x509_certificate(public.read_bytes()) == issued


def test_no_part_holds_what_is_another_ones(made: Path) -> None:
    passwords = json.loads((made / "secrets.json").read_text())
    for user, password in passwords.items():
        holders = {file.parent.name for file in made.glob("*/*") if password in file.read_text(errors="ignore")}
        users = {"promotions", "webhooks"} if user == "webhook-key" else {user, "nats", "valkey"}
        assert holders <= {*users, "operator"}, user
    assert not {file.name for file in (made / "courier").iterdir()} & {"seal-key.pem", "code-secret", "keys.json"}
