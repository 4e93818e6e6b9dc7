"""A third party's verifier, Envoy's `jwt_authn`, takes our tokens by the published keys, and no forged one."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from earlybird.stack.binaries import find_envoy
from earlybird.stack.child import Child, Program
from earlybird.stack.ports import PORTS_FILE, Ports
from earlybird.stack.readiness import port_opens
from journey.customers import newcomer_token
from journey.stack_client import RunningStack
from journey.test_tokens_from_outside import FORGERIES, Forge, forge

__all__ = ["forge"]
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
# Signed with identity's own key, and with a flaw that our verifier refuses and RFC 7519 leaves to the application:
# which claims there are, what a subject is, and `typ` (RFC 9068, 4).
OURS_TO_CHECK = re.compile(
    "a subject that is no id|no subject|another type|no (iat|jti)|sub .*|iat .*|iss twice|20 kB|deep|"
    "b64 false|a crit .*|kid .*"
)


def configuration(port: int, jwks: str) -> dict[str, object]:
    """Return the configuration of an Envoy that answers 200 to a good token, and 401 to any other."""
    provider = {
        "issuer": "earlybird",
        "audiences": ["earlybird"],
        "require_expiration": True,
        "clock_skew_seconds": 5,
        "local_jwks": {"inline_string": jwks},
    }
    authn = {
        "@type": f"{_FILTERS}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"earlybird": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "earlybird"}}],
    }
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    http = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "verifier",
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}
        ],
    }
    return {"static_resources": {"listeners": [listener]}}


@pytest.fixture
async def verifier(http: httpx2.AsyncClient, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of such an Envoy."""
    with Ports(tmp_path / PORTS_FILE) as ports:
        port = (await ports.assign(["verifier"]))["verifier"]
    file = tmp_path / "verifier.json"
    file.write_text(json.dumps(configuration(port, (await http.get("/.well-known/jwks.json")).text)))
    command = [str(find_envoy()), "--config-path", str(file), "--log-level", "error", "--disable-hot-restart"]
    envoy = Child(Program("verifier", command, port, until_ready=lambda: port_opens(port)), tmp_path)
    await envoy.start()
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await envoy.stop()


async def test_envoy_takes_ours_and_refuses_each_forged_one(
    stack: RunningStack, http: httpx2.AsyncClient, verifier: httpx2.AsyncClient, forge: Forge
) -> None:
    async def status(token: str) -> int:
        return (await verifier.get("/", headers={b"Authorization": f"Bearer {token}".encode()})).status_code

    assert await status(await newcomer_token(http)) == await status(forge.signed()) == 200
    taken = {case for case, forged in FORGERIES.items() if await status(forged(forge)) == 200}
    assert {case for case in taken if not OURS_TO_CHECK.fullmatch(case)} == set()
    assert len(FORGERIES) - len(taken) > 50
