"""identity's composition root: the only place that builds its objects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from earlybird.identity.account_store import AccountStore
from earlybird.identity.ledger import Ledger
from earlybird.identity.migrations import MIGRATIONS
from earlybird.identity.passwords import Passwords, overloaded
from earlybird.identity.relay import Relay
from earlybird.identity.routes import HASHING_PATHS, identity_routes
from earlybird.identity.sequencer import Sequencer
from earlybird.identity.service import Identity
from earlybird.identity.store import DATABASE, UserStore
from earlybird.infra.audit_log import AuditLog
from earlybird.infra.audit_log_routes import audit_log_routes
from earlybird.infra.callers import Callers
from earlybird.infra.docs_page import add_docs_page
from earlybird.infra.http_server import HttpServer, add_health
from earlybird.infra.mongo import apply_migrations, connect_mongo, ping_primary
from earlybird.infra.nats import connect_nats
from earlybird.infra.roles import Role, RoleGroup
from earlybird.infra.shedding import EarlyRefusal
from earlybird.infra.web import create_web_app
from earlybird.settings import Settings
from earlybird.tokens import OwnKey, TokenSigner, TokenVerifier, load_or_create_signing_key

_BROKER_SECONDS = 2  # a request that NATS cannot serve, having no leader, is asked again after this


@asynccontextmanager
async def identity_role(settings: Settings) -> AsyncIterator[Role]:
    """The service that people register and log in at."""
    key = load_or_create_signing_key(settings.signing_key_file)
    signer = TokenSigner(key, settings.token_issuer, settings.token_audience)
    passwords = Passwords(
        memory_kib=settings.password_memory_kib,
        iterations=settings.password_iterations,
        slots=settings.password_slots,
        queue_seconds=settings.password_queue_seconds,
    )
    async with connect_mongo(settings, "identity") as client:
        with closing(passwords):
            database = client[DATABASE]
            identity = Identity(UserStore(database), passwords, signer)
            verifier = TokenVerifier(
                OwnKey(key), settings.token_issuer, settings.token_audience, memory=settings.token_memory
            )
            callers = Callers(verifier, AccountStore(database).confirm)
            app = create_identity_app(identity, signer, callers, AuditLog(database))
            add_health(app, {"mongodb": partial(ping_primary, client)})
            yield HttpServer(
                app,
                settings.host,
                settings.identity_port,
                drain_seconds=settings.drain_seconds,
                shutdown_seconds=settings.shutdown_seconds,
                in_front=EarlyRefusal(app, HASHING_PATHS, passwords.is_full, overloaded()),
            )


def create_identity_app(identity: Identity, signer: TokenSigner, callers: Callers, log: AuditLog) -> FastAPI:
    """Put the routes and the documentation page together."""
    app = create_web_app("identity", version("earlybird"))
    app.include_router(identity_routes(identity, signer, callers))
    app.include_router(audit_log_routes("/audit-log/identity", log, callers))
    add_docs_page(app)
    return app


@asynccontextmanager
async def relay_role(settings: Settings) -> AsyncIterator[Role]:
    """The sequencer (change stream → ledger) and the relay (ledger → stream), with health checks."""
    async with connect_mongo(settings, "relay") as client, connect_nats(settings, "relay") as broker:
        appended = asyncio.Event()
        ledger = Ledger(client[DATABASE])
        sequencer = Sequencer(ledger, appended)
        relay = Relay(ledger, broker.jetstream(timeout=_BROKER_SECONDS), settings.stream_replicas, appended)
        app = create_web_app("relay", version("earlybird"))
        add_health(app, {"sequencer": sequencer.check, "relay": relay.check})
        http = HttpServer(
            app,
            settings.host,
            settings.relay_port,
            drain_seconds=settings.drain_seconds,
            shutdown_seconds=settings.shutdown_seconds,
        )
        yield RoleGroup(sequencer, relay, http)


async def migrate_identity(settings: Settings) -> list[str]:
    """Bring identity's schema up to date; safe to repeat. Returns what was new."""
    async with connect_mongo(settings, "migrate") as client:
        return await apply_migrations(client[DATABASE], MIGRATIONS)
