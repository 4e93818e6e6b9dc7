"""What the services say of themselves: the OpenAPI documents hold, and the page that shows them works."""

import re
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest

from earlybird.infra.mongo import Client
from journey.customers import log_in, new_person, register, until_voucher
from journey.records import open_campaign
from journey.stack_client import RunningStack, earlybird, run

PROGRAM = Path(sys.executable).with_name("schemathesis")
ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
SERVICES = {
    "identity": {
        "/register", "/login", "/logout", "/logout-everywhere", "/sessions", "/password",
        "/account", "/receipt", "/seals/latest", "/audit-log/identity", "/.well-known/jwks.json",
        "/verifications", "/verifications/confirm",
        "/people", "/people/search", "/people/{user_id}", "/first-logins/curve",
    },
    "promotions": {
        "/voucher", "/vouchers", "/place",
        "/voucher/quote", "/voucher/redemptions", "/voucher/redemptions/{redemption_id}/refund",
        "/voucher/reservations", "/voucher/reservations/{reservation_id}/confirm",
        "/voucher/reservations/{reservation_id}/release",
        "/campaigns", "/campaigns/current", "/campaigns/{campaign_id}",
        "/campaigns/{campaign_id}/open", "/campaigns/{campaign_id}/close", "/campaigns/{campaign_id}/withdrawals",
        "/campaigns/preview", "/campaigns/{campaign_id}/preview", "/campaigns/{campaign_id}/winners",
        "/campaigns/{campaign_id}/redemptions", "/campaigns/{campaign_id}/figures",
        "/campaigns/{campaign_id}/curve",
        "/holders/{user_id}", "/audit-log/promotions",
        "/webhooks", "/webhooks/{webhook_id}", "/webhooks/{webhook_id}/rotate",
        "/webhooks/{webhook_id}/deliveries",
        "/webhooks/{webhook_id}/replay", "/webhooks/{webhook_id}/test",
    },
}  # fmt: skip
EXAMPLES = 2  # per operation, on top of those that cover the schema's borders


async def put_to_the_test(stack: RunningStack, service: str, folder: Path, *options: str) -> None:
    """Let schemathesis find an answer that the service's own document does not foresee."""
    limits = ["--max-examples", str(EXAMPLES), "--generation-deterministic", "--continue-on-failure"]
    document = f"{stack.url}/openapi/{service}.json"
    command: list[str | Path] = [
        PROGRAM,
        "--config-file",
        CONFIG,
        "--no-color",
        "run",
        document,
        *limits,
        *options,
    ]
    output = await run(command, cwd=folder, within_seconds=100)
    passed = re.search(r"(\d+) generated, (\d+) passed", output)
    assert passed, output
    sys.stdout.write(f"{service}: {passed[0]}\n")  # pytest -rP shows it
    assert passed[1] == passed[2]
    assert int(passed[1]) > 10, output


@pytest.fixture
async def token(stack: RunningStack, http: httpx2.AsyncClient, mongo: Client) -> str:
    """The token of somebody who may do everything and holds a voucher."""
    await open_campaign(mongo, 1)
    person = new_person()
    await register(http, person)
    await earlybird(stack, "user", "grant-role", person.username, "campaign_manager")
    token = await log_in(http, person)
    await until_voucher(http, token)
    return token


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_answers_a_stranger_as_its_openapi_says(
    stack: RunningStack, tmp_path: Path, service: str
) -> None:
    # Almost all is refused for want of a token, whatever it holds: a few of each are enough.
    await put_to_the_test(stack, service, tmp_path, "--phases", "fuzzing")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_answers_a_winner_and_manager_as_its_openapi_says(
    stack: RunningStack, token: str, tmp_path: Path, service: str
) -> None:
    phases = "--phases", "examples,fuzzing,stateful"
    await put_to_the_test(stack, service, tmp_path, *phases, "--header", f"Authorization: Bearer {token}")


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_answers_a_winner_and_manager_at_every_border_of_its_openapi(
    stack: RunningStack, token: str, tmp_path: Path, service: str
) -> None:
    await put_to_the_test(stack, service, tmp_path, "--header", f"Authorization: Bearer {token}")


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_publishes_its_openapi(http: httpx2.AsyncClient, service: str) -> None:
    answer = await http.get(f"/openapi/{service}.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["openapi"].startswith("3.")
    assert set(answer.json()["paths"]) == SERVICES[service]


@pytest.mark.parametrize("service", SERVICES)
async def test_the_reference_is_made_from_what_a_running_service_says(
    http: httpx2.AsyncClient, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    reference = import_module("reference")
    document = (await http.get(f"/openapi/{service}.json")).json()
    assert reference.openapi(import_module(f"earlybird.{service}")) == document
    page = reference.pages()[f"{service}.md"]
    shown = set(re.findall(r"^## (\w+) (\S+)$", page, re.MULTILINE))
    assert shown == {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


async def test_the_docs_page_gets_its_script_and_style_from_the_same_origin(
    stack: RunningStack, http: httpx2.AsyncClient
) -> None:
    page = await http.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = [urljoin(stack.url, link) for link in re.findall(r'(?:src|href)="([^"]+)"', page.text)]
    types = {}
    for link in links:
        assert link.startswith(f"{stack.url}/")
        answer = await http.get(urlsplit(link).path)
        assert answer.status_code == 200
        assert answer.content
        types[urlsplit(link).path.rpartition(".")[2]] = answer.headers["content-type"].partition(";")[0]
    assert types["js"] in {"text/javascript", "application/javascript"}
    assert types["css"] == "text/css"
    assert "http" not in page.text, "nothing comes from elsewhere"
    assert all(service in page.text for service in SERVICES)
