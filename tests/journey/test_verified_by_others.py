"""A third party's verifier, Envoy's `jwt_authn` as in our example, takes our tokens and no forged one."""

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from earlybird.stack.binaries import find_envoy
from journey.customers import newcomer_token
from journey.example_programs import bearer, proxy
from journey.stack_client import RunningStack
from journey.test_tokens_from_outside import FORGERIES, Forge, forge

__all__ = ["forge"]
# Signed with identity's own key, and with a flaw that our verifier refuses and RFC 7519 leaves to the application:
# which claims there are, what a subject is, and `typ` (RFC 9068, 4).
OURS_TO_CHECK = re.compile(
    "a subject that is no id|no subject|another type|no (iat|jti)|sub .*|iat .*|iss twice|20 kB|deep|"
    "b64 false|a crit .*|kid .*"
)


@pytest.fixture
async def envoy(
    stack: RunningStack, tmp_path: Path
) -> AsyncIterator[tuple[httpx2.AsyncClient, list[dict[str, str]]]]:
    """A client of the example's Envoy, and what the service behind it was sent."""
    command = [str(find_envoy()), "--log-level", "error", "--disable-hot-restart", "--config-path"]
    async with proxy("envoy-verifies-tokens.yaml", command, stack.url, tmp_path) as running:
        yield running


async def test_envoy_hands_on_who_is_calling(
    http: httpx2.AsyncClient, envoy: tuple[httpx2.AsyncClient, list[dict[str, str]]]
) -> None:
    (client, seen), token = envoy, await newcomer_token(http)
    assert (await client.get("/", headers={"x-token-claims": "forged"})).status_code == 401
    given = await client.get("/", headers=bearer(token) | {"x-token-claims": "forged"})
    assert given.status_code == 200
    [request] = seen
    claims = json.loads(base64.urlsafe_b64decode(request["x-token-claims"] + "=="))
    account = (await http.get("/account", headers=bearer(token))).json()["account"]
    assert claims["sub"] == account["id"]


async def test_envoy_takes_ours_and_refuses_each_forged_one(
    http: httpx2.AsyncClient, envoy: tuple[httpx2.AsyncClient, list[dict[str, str]]], forge: Forge
) -> None:
    async def status(token: str) -> int:
        return (await envoy[0].get("/", headers={b"Authorization": f"Bearer {token}".encode()})).status_code

    assert await status(await newcomer_token(http)) == await status(forge.signed()) == 200
    taken = {case for case, forged in FORGERIES.items() if await status(forged(forge)) == 200}
    assert {case for case in taken if not OURS_TO_CHECK.fullmatch(case)} == set()
    assert len(FORGERIES) - len(taken) > 50
