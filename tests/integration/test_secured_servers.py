"""Production's servers ask for user, password and TLS: the same roles reach them by URL alone."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import nats.errors
import pytest
import trustme
from cryptography.x509 import load_pem_x509_certificate
from people import a_voucher, add_users, log_in_first, open_campaign, running, until_judged
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import AuthenticationError
from server_processes import process, tls_in_front, until_listening

from earlybird.identity.app import migrate_identity, relay_role
from earlybird.infra.mongo import connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.infra.valkey import connect_valkey
from earlybird.promotions.app import granter_role, migrate_promotions
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.settings import Settings
from earlybird.stack import binaries
from earlybird.stack.libraries import mongod_environment
from free_ports import free_port

PASSWORD = secrets.token_hex(8)


@dataclass(frozen=True)
class Papers:
    """What a server shows and a client trusts."""

    certificate: Path  # certificate and key
    authority: Path
    folder: Path
    client: Path  # the service's own certificate and key
    client_name: str

    @property
    def subject(self) -> str:
        """Who the service is to MongoDB."""
        return load_pem_x509_certificate(self.client.read_bytes()).subject.rfc4514_string()


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    name = "earlybird.bank.example"
    own = authority.issue_cert(name, organization_name="bank", organization_unit_name="earlybird")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    return Papers(tmp_path / "server.pem", tmp_path / "ca.pem", tmp_path, tmp_path / "client.pem", name)


@asynccontextmanager
async def secured_mongod(papers: Papers) -> AsyncIterator[str]:
    port, folder, key = free_port(), papers.folder / "mongod", papers.folder / "keyfile"
    folder.mkdir()
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    mongod = binaries.find_mongod()
    libraries = await mongod_environment(mongod, papers.folder / "libraries")
    options = f"--replSet earlybird --bind_ip 127.0.0.1 --port {port} --nounixsocket --tlsMode requireTLS --auth"
    files = ("--dbpath", folder, "--keyFile", key, "--tlsCertificateKeyFile", papers.certificate)
    trust = ("--tlsCAFile", papers.authority, "--tlsAllowConnectionsWithoutCertificates")
    async with process(mongod, *options.split(), *files, *trust, environment=dict(libraries) or None):
        await create_mongodb_user(port, papers)
        query = f"replicaSet=earlybird&authSource=admin&tls=true&tlsCAFile={papers.authority}"
        yield f"mongodb://bank:{PASSWORD}@127.0.0.1:{port}/?{query}"


async def create_mongodb_user(port: int, papers: Papers) -> None:
    """Use the one thing that MongoDB lets localhost do without a password."""
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true&tls=true&tlsCAFile={papers.authority}"
    async with AsyncMongoClient[dict[str, object]](uri) as client:
        members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
        await client.admin.command("replSetInitiate", {"_id": "earlybird", "members": members})
        async with asyncio.timeout(30):
            while not (await client.admin.command("hello"))["isWritablePrimary"]:
                await asyncio.sleep(0.05)
        await client.admin.command("createUser", "bank", pwd=PASSWORD, roles=["root"])
    bank = uri.replace("://", f"://bank:{PASSWORD}@")
    async with AsyncMongoClient[dict[str, object]](bank) as client:
        await client["$external"].command("createUser", papers.subject, roles=[{"role": "root", "db": "admin"}])


@asynccontextmanager
async def secured_nats(papers: Papers, *, with_certificates: bool) -> AsyncIterator[str]:
    port, config = free_port(), papers.folder / "nats.conf"
    tls: dict[str, object] = {"cert_file": str(papers.certificate), "key_file": str(papers.certificate)}
    authorization: dict[str, object] = {"user": "bank", "password": PASSWORD}
    if with_certificates:
        tls |= {"ca_file": str(papers.authority), "verify_and_map": True}
        authorization = {"users": [{"user": papers.client_name}]}
    config.write_text(
        json.dumps(
            {
                "listen": f"127.0.0.1:{port}",
                "jetstream": {"store_dir": str(papers.folder / "nats")},
                "tls": tls,
                "authorization": authorization,
            }
        )
    )
    async with process(binaries.find_nats_server(), "-c", config):
        yield f"tls://127.0.0.1:{port}" if with_certificates else f"tls://bank:{PASSWORD}@127.0.0.1:{port}"


@asynccontextmanager
async def secured_valkey(papers: Papers, *, with_certificates: bool) -> AsyncIterator[str]:
    """Valkey with a password, behind a TLS terminator: the wheel's server is built without TLS."""
    port = free_port()
    options = f"--bind 127.0.0.1 --port {port} --requirepass {PASSWORD} --appendonly no"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(papers.certificate)
    if with_certificates:
        context.load_verify_locations(papers.authority)
        context.verify_mode = ssl.CERT_REQUIRED

    async with process(binaries.find_valkey_server(), *options.split(), "--save", "", "--dir", papers.folder):
        await until_listening(port)
        async with tls_in_front(port, context) as outer_port:
            own = f"&ssl_certfile={papers.client}&ssl_keyfile={papers.client}" if with_certificates else ""
            yield f"rediss://:{PASSWORD}@127.0.0.1:{outer_port}/0?ssl_ca_certs={papers.authority}{own}"


@asynccontextmanager
async def secured_servers(papers: Papers, *, with_certificates: bool) -> AsyncIterator[Settings]:
    """MongoDB, NATS and Valkey; the services show certificates of their own, or passwords."""
    async with AsyncExitStack() as servers:
        mongodb = await servers.enter_async_context(secured_mongod(papers))
        if with_certificates:
            own = f"tlsCertificateKeyFile={papers.client}&authMechanism=MONGODB-X509&authSource=%24external"
            mongodb = mongodb.replace(f"bank:{PASSWORD}@", "").replace("authSource=admin", own)
        nats_url = await servers.enter_async_context(secured_nats(papers, with_certificates=with_certificates))
        valkey = await servers.enter_async_context(secured_valkey(papers, with_certificates=with_certificates))
        settings = Settings(
            mongodb_uri=mongodb,
            nats_url=nats_url,
            valkey_url=valkey,
            nats_ca_file=papers.authority,
            nats_certificate_file=papers.client if with_certificates else None,
            relay_port=free_port(),
            granter_port=free_port(),
            valkey_timeout_seconds=5,
        )
        yield settings


@pytest.fixture
async def secured(papers: Papers) -> AsyncIterator[Settings]:
    async with secured_servers(papers, with_certificates=False) as settings:
        yield settings


async def test_vouchers_are_granted_through_servers_with_passwords_and_tls(secured: Settings) -> None:
    await grant_vouchers(secured)


async def test_services_prove_who_they_are_by_certificates(papers: Papers) -> None:
    async with secured_servers(papers, with_certificates=True) as secured:
        await grant_vouchers(secured)
        nobody = secured.model_copy(update={"nats_certificate_file": None})
        with pytest.raises((ssl.SSLError, OSError, nats.errors.Error, TimeoutError)):
            async with connect_nats(nobody, "test", patience_seconds=3):
                pytest.fail("NATS let in whoever has no certificate")


async def grant_vouchers(secured: Settings) -> None:
    """Open a campaign, let people log in, and see that vouchers were granted and are cached."""
    await migrate_identity(secured)
    await migrate_promotions(secured)
    async with connect_mongo(secured, "test") as client, connect_valkey(secured, "test") as valkey:
        await open_campaign(client, 3)
        users = await add_users(client, 5)
        async with relay_role(secured) as relay, granter_role(secured) as granter, running(relay, granter):
            await log_in_first(client, users)
            await until_judged(client, 5)
        assert await client["promotions"]["vouchers"].count_documents({}) == 3
        user = uuid4()
        held = a_voucher(user)
        cache = VoucherCache(valkey, 300, 1)
        await cache.put([held], datetime.now(UTC))
        assert await cache.get(user) == held.to_json()


async def test_a_wrong_password_is_no_way_in(secured: Settings) -> None:
    def with_wrong_password(url: str) -> str:
        return url.replace(PASSWORD, "wrong")

    wrong = Settings(
        mongodb_uri=with_wrong_password(secured.mongodb_uri.get_secret_value()),
        nats_url=with_wrong_password(secured.nats_url.get_secret_value()),
        valkey_url=with_wrong_password(secured.valkey_url.get_secret_value()),
        valkey_timeout_seconds=5,
        nats_ca_file=secured.nats_ca_file,
    )
    async with connect_mongo(wrong, "test") as client:
        with pytest.raises((OperationFailure, PyMongoError), match="Authentication failed"):
            await client["identity"]["users"].find_one({})
    async with connect_valkey(wrong, "test") as valkey:
        with pytest.raises(AuthenticationError):
            await valkey.ping()
    with pytest.raises((nats.errors.AuthorizationError, TimeoutError)):
        async with asyncio.timeout(3), connect_nats(wrong, "test"):
            pytest.fail("NATS let a wrong password in")


def test_a_password_in_a_url_is_never_printed() -> None:
    settings = Settings(mongodb_uri=f"mongodb://bank:{PASSWORD}@db/", nats_url=f"tls://bank:{PASSWORD}@nats:4222")
    assert PASSWORD not in repr(settings) + str(settings) + settings.model_dump_json()
