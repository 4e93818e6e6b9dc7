"""The files of a deployment on containers: for each part of it a folder with its own certificate, passwords and
configuration, and with nothing of another.

`deploy/compose.yaml` mounts these folders, and in Kubernetes each is a Secret, at the same place. Not here: the
containers (`deploy/`), and the local stack (`servers`).
"""

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from earlybird.identity.sessions.signing_keys import KeyFolder, shared_secret
from earlybird.settings import Settings
from earlybird.stack.certificates import Authority
from earlybird.stack.permissions import NATS_USERS, OPERATOR, USERS, VALKEY_USERS, Secrets, write_private
from earlybird.stack.readiness import ATTEMPT_SECONDS, repeat_until
from earlybird.stack.replica_set import NAME
from earlybird.stack.routing import Json, Network, Tls, configuration

MOUNTED = PurePosixPath("/run/earlybird")  # where a container finds its folder
KEYS = "signing-keys"
MEMBERS = 3
MONGODB_PORT, NATS_PORT, NATS_CLUSTER_PORT, NATS_MONITOR_PORT, VALKEY_PORT = 27017, 4222, 6222, 8222, 6379
HTTPS_PORT, INSIDE_PORT = 8443, 8444  # of the balancer: for everybody, and for the pages alone
REQUEST_SECONDS, PER_SLOT = 10, 16
SERVED = {"identity": ("identity", "identity-balanced"), "promotions": ("promotions",), "pages": ("pages",)}
WORKERS = ("relay", "granter", "courier", "webhooks")
_WEBHOOKS = ("promotions", "webhooks", OPERATOR)  # who knows the secrets of webhooks
_ITSELF = ("localhost", "127.0.0.1")  # for probes within the container
_ALREADY_INITIALIZED = 23  # MongoDB's error_codes.yml


def hosts(server: str) -> list[str]:
    """Return the names of the members of a cluster: those of a StatefulSet behind a service of its name."""
    return [f"{server}-{number}.{server}" for number in range(MEMBERS)]


def write_files(folder: Path, public: list[str]) -> list[str]:
    """Make what is missing or about to expire, write configurations again, and return the names of the folders.

    `public` are the names by which clients know the balancer. Safe to repeat: passwords, keys and addresses stay.
    No other user of this machine gets into the folder. What is in it can be read by whatever user a container has.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    authority, secrets = Authority(folder), Secrets(folder)
    units = {
        **SERVED,
        **{name: (name,) for name in (*WORKERS, OPERATOR, "valkey")},
        "balancer": ("balancer", "balancer-inside"),
        **{name: (name, *hosts(name)) for name in ("mongodb", "nats")},
    }
    for unit, names in units.items():
        (folder / unit).mkdir(exist_ok=True)
        authority.issue(folder / unit / "tls.pem", unit, [*names, *_ITSELF])
        shutil.copyfile(authority.file, folder / unit / "ca.pem")
    authority.issue(folder / "balancer" / "public.pem", "public", public)
    (folder / "mongodb" / "mongod.conf").write_text(json.dumps(mongod_options(), indent=2))
    write_private(folder / "nats" / "nats.conf", json.dumps(nats_options(secrets), indent=2))
    write_private(folder / "valkey" / "valkey.conf", valkey_options(secrets))
    for user in USERS:
        for name, value in addresses(secrets, user).items():
            if not (folder / user / name).exists():  # somebody else's server may have been put there
                write_private(folder / user / name, value)
    shutil.copyfile(folder / "secrets.json", folder / OPERATOR / "secrets.json")
    _write_keys(folder)
    for unit in (*units, KEYS):
        for file in (folder / unit).iterdir():
            file.chmod(0o644)
    return [*units, KEYS]


def _write_keys(folder: Path) -> None:
    """Make identity's keys in the folder `keys`; copy them for identity, and the courier's one for the courier."""
    keys, copies = folder / "keys", folder / KEYS
    KeyFolder(keys, None).code_secret()
    shared_secret(keys, "message-key")
    shutil.rmtree(copies, ignore_errors=True)
    shutil.copytree(keys, copies, ignore=shutil.ignore_patterns(".*"), copy_function=shutil.copyfile)
    copies.chmod(0o755)
    shutil.copyfile(keys / "message-key", folder / "courier" / "message-key")


def addresses(secrets: Secrets, user: str) -> dict[str, str]:
    """Return the secret settings of one user: the addresses of the servers that it may use, with its password."""
    login, authority = secrets.login(user), MOUNTED / "ca.pem"
    members = ",".join(f"{host}:{MONGODB_PORT}" for host in hosts("mongodb"))
    query = f"replicaSet={NAME}&authSource=admin&tls=true&tlsCAFile={authority}"
    found = {"EARLYBIRD_MONGODB_URI": f"mongodb://{login}@{members}/?{query}"}
    if user in NATS_USERS:
        found["EARLYBIRD_NATS_URL"] = ",".join(f"tls://{login}@{host}:{NATS_PORT}" for host in hosts("nats"))
    if user in VALKEY_USERS:
        found["EARLYBIRD_VALKEY_URL"] = f"rediss://{login}@valkey:{VALKEY_PORT}/0?ssl_ca_certs={authority}"
    if user in _WEBHOOKS:
        found["EARLYBIRD_WEBHOOK_KEY"] = secrets.webhook_key()
    return found


def mongod_options() -> Json:
    """Return mongod's configuration: TLS alone, and members know each other by their certificates."""
    tls = {
        "mode": "requireTLS",
        "certificateKeyFile": str(MOUNTED / "tls.pem"),
        "CAFile": str(MOUNTED / "ca.pem"),
        "allowConnectionsWithoutCertificates": True,  # the services show passwords
        "disabledProtocols": "TLS1_0,TLS1_1",
    }
    return {
        # Compressed messages: a fault of old releases lets anybody read memory by them (CVE-2025-14847).
        "net": {"bindIpAll": True, "port": MONGODB_PORT, "tls": tls, "compression": {"compressors": "disabled"}},
        "security": {"authorization": "enabled", "clusterAuthMode": "x509"},
        "replication": {"replSetName": NAME},
        "storage": {"dbPath": "/data"},
        # A worker that dies within a transaction leaves its locks behind, by default for 60 s; ours take 10 ms.
        "setParameter": {"transactionLifetimeLimitSeconds": 3},
        "processManagement": {"fork": False},
    }


def nats_options(secrets: Secrets) -> Json:
    """Return the configuration of every NATS server; each gets its name on its command line."""
    pem = str(MOUNTED / "tls.pem")
    tls = {"cert_file": pem, "key_file": pem, "ca_file": str(MOUNTED / "ca.pem"), "timeout": 5}
    user, _, password = secrets.login("members").partition(":")
    return {
        "listen": f"0.0.0.0:{NATS_PORT}",
        "http": f"127.0.0.1:{NATS_MONITOR_PORT}",  # asks for no password: for probes within the container
        "tls": tls,
        "authorization": {"users": secrets.nats_users()},
        "jetstream": {"store_dir": "/data", "sync_interval": "always"},
        "cluster": {
            "name": NAME,
            "listen": f"0.0.0.0:{NATS_CLUSTER_PORT}",
            "tls": {**tls, "verify": True},
            "authorization": {"user": user, "password": password},
            "routes": [f"nats://{user}:{password}@{host}:{NATS_CLUSTER_PORT}" for host in hosts("nats")],
        },
    }


def valkey_options(secrets: Secrets) -> str:
    """Return Valkey's configuration: TLS alone, and nothing on disk."""
    pem = MOUNTED / "tls.pem"
    lines = (
        *("port 0", f"tls-port {VALKEY_PORT}", f"tls-cert-file {pem}", f"tls-key-file {pem}"),
        *(f"tls-ca-cert-file {MOUNTED / 'ca.pem'}", "tls-auth-clients no"),
        *("maxmemory 256mb", "maxmemory-policy allkeys-lru", "appendonly no", 'save ""', "dir /tmp"),
    )
    return "\n".join(lines) + "\n" + secrets.valkey_rules()


def envoy_options(settings: Settings, in_flight: int, trusted_proxies: int) -> Json:
    """Return the balancer's configuration: the routes of the local stack, over TLS, to names that DNS knows.

    `in_flight` is for all identities together.
    """
    own, public = Path(MOUNTED / "tls.pem"), Path(MOUNTED / "public.pem")
    return configuration(
        None,
        [settings.identity_port],
        [settings.promotions_port],
        in_flight=in_flight,
        request_seconds=REQUEST_SECONDS,
        trusted_proxies=trusted_proxies,
        tls=Tls(HTTPS_PORT, public, public),
        pages=[settings.pages_port],
        network=Network(
            {name: names[0] for name, names in SERVED.items()},
            Path(MOUNTED / "ca.pem"),
            Tls(INSIDE_PORT, own, own),
        ),
    )


async def prepare_mongodb(secrets: Secrets, members: list[str], certificate: Path, authority: Path) -> None:
    """Make these mongods a replica set, and its users with the privileges of this version. Safe to repeat.

    It comes with the certificate of a member, and so may do everything. Waits until there is a primary.
    """
    wanted = {"_id": NAME, "members": [{"_id": n, "host": member} for n, member in enumerate(members)]}
    paper = f"tls=true&tlsCAFile={authority}&tlsCertificateKeyFile={certificate}"
    query = f"{paper}&authMechanism=MONGODB-X509&authSource=%24external&directConnection=true"

    async def is_done(member: str) -> bool:
        uri = f"mongodb://{member}/?{query}"
        async with AsyncMongoClient[dict[str, Any]](
            uri, serverSelectionTimeoutMS=ATTEMPT_SECONDS * 1000
        ) as client:
            try:
                if member == members[0]:
                    await _initiate(client, wanted)
                if not (await client.admin.command("hello"))["isWritablePrimary"]:
                    return False
                await secrets.create_operator(client)
                await secrets.put_users(client)
            except PyMongoError:
                return False  # starting, electing, or stepping down: the next attempt looks afresh
        return True

    async def any_is_done() -> bool:
        for member in members:
            if await is_done(member):
                return True
        return False

    await repeat_until(any_is_done)


async def _initiate(client: AsyncMongoClient[dict[str, Any]], wanted: Json) -> None:
    try:
        await client.admin.command("replSetInitiate", wanted)
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise
