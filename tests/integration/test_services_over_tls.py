"""Between the balancer and the services, and between the services, TLS by configuration; secrets from a folder."""

import asyncio
import ssl
import sys
from pathlib import Path

import httpx2
import pytest
import trustme
from people import registration
from services import Ports, environment, serving

from earlybird.infra.mongo import Client
from earlybird.settings import Settings

LOGIN = {"username": "person-1", "password": "correct horse battery"}


async def test_services_speak_tls_and_trust_the_authority_that_they_are_told(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    ports = Ports()
    identity, promotions = f"https://127.0.0.1:{ports.identity}", f"https://127.0.0.1:{ports.promotions}"
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "EARLYBIRD_MONGODB_URI").write_text(settings.mongodb_uri.get_secret_value())
    variables = environment(
        settings,
        ports,
        EARLYBIRD_HTTP_CERTIFICATE_FILE=str(tmp_path / "server.pem"),
        EARLYBIRD_IDENTITY_CA_FILE=str(tmp_path / "ca.pem"),
        EARLYBIRD_JWKS_URL=f"{identity}/.well-known/jwks.json",
        EARLYBIRD_ACCOUNT_URL=f"{identity}/account",
        EARLYBIRD_MONGODB_URI="",
        EARLYBIRD_SECRETS_FOLDER=str(folder),
    )
    trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    async with serving(variables, "identity", "promotions"), httpx2.AsyncClient(verify=trust) as http:
        async with asyncio.timeout(30):
            while not await is_ready(http, identity, promotions):
                await asyncio.sleep(0.05)
        assert (await http.post(f"{identity}/register", json=registration(1))).status_code == 200
        token = (await http.post(f"{identity}/login", json=LOGIN)).json()["token"]
        # Roles are asked for at identity: this goes through the second connection.
        answer = await http.get(f"{promotions}/campaigns", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        with pytest.raises(httpx2.TransportError):
            await http.get(f"http://127.0.0.1:{ports.identity}/healthz")
        async with httpx2.AsyncClient() as stranger:
            with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
                await stranger.get(f"{identity}/healthz")


async def is_ready(http: httpx2.AsyncClient, *services: str) -> bool:
    try:
        return all([(await http.get(f"{service}/readyz")).status_code == 200 for service in services])
    except httpx2.TransportError:
        return False


async def test_a_folder_of_secrets_that_is_none_is_named(settings: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "earlybird", "serve", "identity"),
        env=environment(settings, Ports(), EARLYBIRD_SECRETS_FOLDER="/nowhere"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert errors.decode() == "earlybird: /nowhere: EARLYBIRD_SECRETS_FOLDER names no folder\n"
    assert process.returncode == 1
