"""What the services say of themselves: the OpenAPI documents hold, and the page that shows them works."""

import re
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest

from earlybird.infra.mongo import Client
from journey.customers import newcomer_token, until_voucher
from journey.records import open_campaign
from journey.stack_client import RunningStack, run

PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
SERVICES = {"identity": {"/register", "/login", "/.well-known/jwks.json"}, "promotions": {"/voucher"}}
EXAMPLES = 50  # per operation, on top of those that cover the schema's borders


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
    assert passed[1] == passed[2]
    assert int(passed[1]) > 10, output


async def test_identity_answers_as_its_openapi_says(stack: RunningStack, tmp_path: Path) -> None:
    await put_to_the_test(stack, "identity", tmp_path)


async def test_promotions_answers_a_stranger_as_its_openapi_says(stack: RunningStack, tmp_path: Path) -> None:
    await put_to_the_test(stack, "promotions", tmp_path)


async def test_promotions_answers_a_winner_as_its_openapi_says(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client, tmp_path: Path
) -> None:
    await open_campaign(mongo, 1)
    token = await newcomer_token(http)
    await until_voucher(http, token)
    await put_to_the_test(stack, "promotions", tmp_path, "--header", f"Authorization: Bearer {token}")


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_publishes_its_openapi(http: httpx2.AsyncClient, service: str) -> None:
    answer = await http.get(f"/openapi/{service}.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["openapi"].startswith("3.")
    assert set(answer.json()["paths"]) == SERVICES[service]


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
