"""identity's composition root: the only place that builds its objects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from earlybird.access.callers import Callers
from earlybird.access.verifier import TokenVerifier
from earlybird.history import routes as history_routes
from earlybird.history.log import AuditLog
from earlybird.identity import DATABASE
from earlybird.identity.accounts import routes as accounts_routes
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.service import Accounts
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.identity.logins import routes as logins_routes
from earlybird.identity.logins.service import Logins
from earlybird.identity.migrations import MIGRATIONS
from earlybird.identity.passwords.hashing import Passwords, overloaded
from earlybird.identity.sessions import routes as keys_routes
from earlybird.identity.sessions.signer import OwnKey, TokenSigner
from earlybird.identity.sessions.signing_key import load_or_create_signing_key
from earlybird.infra.http.app import create_web_app, provide
from earlybird.infra.http.docs_page import add_docs_page
from earlybird.infra.http.server import HttpServer, add_health
from earlybird.infra.http.shedding import EarlyRefusal
from earlybird.infra.mongo import apply_migrations, connect_mongo, ping_primary
from earlybird.infra.nats import REQUEST_SECONDS, connect_nats
from earlybird.infra.processes import Role, RoleGroup
from earlybird.settings import Settings

HASHING_PATHS = frozenset({"/register", "/login"})  # each hashes once: what costs, and is refused when overloaded


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
            users = UserStore(database)
            country = settings.phone_country
            accounts, logins = Accounts(users, passwords, country), Logins(users, passwords, signer, country)
            verifier = TokenVerifier(
                OwnKey(key), settings.token_issuer, settings.token_audience, memory=settings.token_memory
            )
            callers = Callers(verifier, AccountStore(database, country).confirm)
            app = create_identity_app(accounts, logins, signer, callers, AuditLog(database))
            add_health(app, {"mongodb": partial(ping_primary, client)})
            yield HttpServer(
                app,
                settings,
                settings.identity_port,
                in_front=EarlyRefusal(app, HASHING_PATHS, passwords.is_full, overloaded()),
            )


def create_identity_app(
    accounts: Accounts, logins: Logins, signer: TokenSigner, callers: Callers, log: AuditLog
) -> FastAPI:
    """Put the routes and the documentation page together."""
    app = create_web_app("identity", version("earlybird"))
    provide(app, accounts, logins, signer, callers, log)
    for routes in (accounts_routes, logins_routes, keys_routes):
        app.include_router(routes.router)
    app.include_router(history_routes.router, prefix="/audit-log/identity")
    add_docs_page(app)
    return app


@asynccontextmanager
async def relay_role(settings: Settings) -> AsyncIterator[Role]:
    """The sequencer (change stream → ledger) and the relay (ledger → stream), with health checks."""
    async with connect_mongo(settings, "relay") as client, connect_nats(settings, "relay") as broker:
        appended = asyncio.Event()
        ledger = Ledger(client[DATABASE])
        sequencer = Sequencer(ledger, appended)
        relay = Relay(ledger, broker.jetstream(timeout=REQUEST_SECONDS), settings.stream_replicas, appended)
        app = create_web_app("relay", version("earlybird"))
        add_health(app, {"sequencer": sequencer.check, "relay": relay.check})
        http = HttpServer(app, settings, settings.relay_port)
        yield RoleGroup(sequencer, relay, http)


async def migrate_identity(settings: Settings) -> list[str]:
    """Bring identity's schema up to date; safe to repeat. Returns what was new."""
    async with connect_mongo(settings, "migrate") as client:
        return await apply_migrations(client[DATABASE], MIGRATIONS)
