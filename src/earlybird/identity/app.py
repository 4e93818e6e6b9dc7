"""identity's composition root: the only place that builds its objects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from importlib.metadata import version

import httpx2
from fastapi import FastAPI
from redis.asyncio import Redis

from earlybird.access.callers import Callers
from earlybird.access.revocation_feed import RevocationFeed
from earlybird.access.verifier import TokenVerifier
from earlybird.errors import Failure
from earlybird.history import routes as history_routes
from earlybird.history.log import AuditLog
from earlybird.identity import DATABASE
from earlybird.identity.accounts import routes as accounts_routes
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.service import Accounts
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.contacts import routes as contacts_routes
from earlybird.identity.contacts.courier import Courier
from earlybird.identity.contacts.model import required
from earlybird.identity.contacts.outbox import Outbox
from earlybird.identity.contacts.senders import build_senders, check_senders
from earlybird.identity.contacts.service import Contacts
from earlybird.identity.contacts.store import ContactStore
from earlybird.identity.ledger import routes as ledger_routes
from earlybird.identity.ledger.lag import RELAY_GAUGES, sample_relay_lag
from earlybird.identity.ledger.receipts import Receipts
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.identity.logins import routes as logins_routes
from earlybird.identity.logins.service import Logins
from earlybird.identity.migrations import MIGRATIONS
from earlybird.identity.passwords.breached import BreachedPasswords
from earlybird.identity.passwords.hashing import Passwords, overloaded
from earlybird.identity.passwords.rules import PasswordRules
from earlybird.identity.people import routes as people_routes
from earlybird.identity.people.store import PeopleStore
from earlybird.identity.sessions import routes as sessions_routes
from earlybird.identity.sessions.service import Sessions
from earlybird.identity.sessions.signer import OwnKeys, TokenSigner
from earlybird.identity.sessions.signing_keys import KeyFolder, shared_secret
from earlybird.identity.sessions.store import SessionStore
from earlybird.identity.throttle.devices import Devices
from earlybird.identity.throttle.guesses import Throttle, per_source
from earlybird.infra.http.app import create_web_app, provide
from earlybird.infra.http.docs_page import add_docs_page
from earlybird.infra.http.metrics import Look, add_metrics, outbox_look
from earlybird.infra.http.server import HttpServer, add_health
from earlybird.infra.http.shedding import EarlyRefusal
from earlybird.infra.mongo import Database, Schema, apply_migrations, connect_mongo, ping_primary, sample_primary
from earlybird.infra.nats import REQUEST_SECONDS, connect_nats
from earlybird.infra.processes import Role, RoleAfter, RoleGroup
from earlybird.infra.tracing import open_tracing
from earlybird.infra.valkey import connect_valkey
from earlybird.metrics import MONGODB_PRIMARY, STREAM_LEADER
from earlybird.settings import Settings

HASHING_PATHS = frozenset({"/register", "/login"})  # each hashes once: what costs, and is refused when overloaded


@asynccontextmanager
async def identity_role(settings: Settings) -> AsyncIterator[Role]:
    """The service that people register and log in at."""
    check_senders(settings)  # so that nobody waits for a code that no courier could send
    keys, feed = KeyFolder.of(settings), RevocationFeed(settings, "identity", refills=True)
    passwords = Passwords(
        memory_kib=settings.password_memory_kib,
        iterations=settings.password_iterations,
        slots=settings.password_slots,
        queue_seconds=settings.password_queue_seconds,
    )
    async with (
        connect_mongo(settings, "identity") as client,
        connect_valkey(settings, "identity") as valkey,
        open_tracing(settings, "identity") as tracing,
    ):
        with closing(passwords):
            app = build_identity_app(
                settings, UserStore(client[DATABASE]), client[DATABASE], valkey, passwords, keys, feed
            )
            add_health(
                app,
                {
                    "mongodb": partial(ping_primary, client),
                    "schema": Schema(client[DATABASE], MIGRATIONS).check,
                    "revocations_at_start": feed.check_start,
                },
                watched={"revocations": feed.check},
            )
            add_metrics(app)
            overload = EarlyRefusal(app, HASHING_PATHS, passwords.is_full, overloaded())
            http = HttpServer(app, settings, settings.identity_port, in_front=overload, tracing=tracing)
            yield RoleGroup(feed, http)


def build_identity_app(
    settings: Settings,
    users: UserStore,
    database: Database,
    valkey: Redis,
    passwords: Passwords,
    keys: KeyFolder,
    feed: RevocationFeed,
) -> FastAPI:
    """Build the service's objects, and put its routes and the documentation page together."""
    country, administration = settings.phone_country, AccountStore(database, settings.phone_country)
    rules = PasswordRules(settings.password_least_length, settings.service_name)
    breached = BreachedPasswords(settings.breached_passwords_file)
    failures, registrations = settings.source_failed_logins, settings.source_registrations
    throttle = Throttle(valkey, per_source(failures, 600), per_source(registrations, 3600))
    signer = TokenSigner(keys, settings.token_issuer, settings.token_audience)
    one = settings.one_session_per_person
    sessions = Sessions(users, signer, SessionStore(valkey, throttle), feed, one_per_person=one)
    devices = Devices(keys.device_secret())
    channels = required(settings.verify)
    outbox = Outbox(database, message_key(settings))
    contacts = Contacts(ContactStore(database, outbox, keys.code_secret(), channels), throttle, country)
    verifier = TokenVerifier(
        OwnKeys(keys),
        settings.token_issuer,
        settings.token_audience,
        memory=settings.token_memory,
        check_caller=feed.check_caller,
    )
    app = create_web_app("identity", version("earlybird"), public_docs=settings.public_docs)
    provide(
        app,
        Accounts(contacts if channels else users, passwords, rules, breached, throttle, country),
        Logins(
            users,
            administration,
            passwords,
            rules,
            breached,
            throttle,
            devices,
            sessions,
            contacts if channels else None,
            country,
        ),
        contacts,
        sessions,
        signer,
        Callers(verifier, administration.confirm),
        AuditLog(database),
        PeopleStore(database, country),
        Receipts(Ledger(database), keys.seal_key(), settings.token_issuer),
    )
    rooms = accounts_routes, contacts_routes, logins_routes, sessions_routes, ledger_routes, people_routes
    for routes in rooms:
        app.include_router(routes.router)
    app.include_router(history_routes.router, prefix="/audit-log/identity")
    if settings.public_docs:
        add_docs_page(app)
    return app


@asynccontextmanager
async def relay_role(settings: Settings) -> AsyncIterator[Role]:
    """The sequencer (change stream → ledger) and the relay (ledger → stream), with health checks."""
    async with (
        connect_mongo(settings, "relay") as client,
        connect_nats(settings, "relay") as broker,
        open_tracing(settings, "relay") as tracing,
    ):
        appended = asyncio.Event()
        ledger = Ledger(client[DATABASE])
        sequencer = Sequencer(ledger, appended, tracing)
        jetstream = broker.jetstream(timeout=REQUEST_SECONDS)
        relay = Relay(ledger, jetstream, settings.stream_replicas, appended, tracing)
        app = create_web_app("relay", version("earlybird"))
        add_health(app, {"sequencer": sequencer.check, "relay": relay.check})
        add_metrics(
            app,
            {
                "relay_lag": Look(
                    partial(sample_relay_lag, ledger, jetstream), RELAY_GAUGES, (*RELAY_GAUGES, STREAM_LEADER)
                ),
                "mongodb_primary": Look(partial(sample_primary, client), (), (MONGODB_PRIMARY,)),
            },
        )
        working = RoleAfter(Schema(client[DATABASE], MIGRATIONS).wait, RoleGroup(sequencer, relay))
        yield RoleGroup(working, HttpServer(app, settings, settings.relay_port))


@asynccontextmanager
async def courier_role(settings: Settings) -> AsyncIterator[Role]:
    """The courier (outbox → people), with health checks. Raises Failure if there is nothing for it to send."""
    if not required(settings.verify):
        raise Failure("EARLYBIRD_VERIFY is nothing, so a courier has nothing to send: leave it out")
    async with connect_mongo(settings, "courier") as client, httpx2.AsyncClient() as http:
        senders = build_senders(settings, http)
        outbox = Outbox(client[DATABASE], message_key(settings))
        courier = Courier(client[DATABASE], outbox, senders)
        app = create_web_app("courier", version("earlybird"))
        add_health(app, {"courier": courier.check})
        add_metrics(app, {"letters": outbox_look("letters", outbox.depth)})
        working = RoleAfter(Schema(client[DATABASE], MIGRATIONS).wait, courier)
        yield RoleGroup(working, HttpServer(app, settings, settings.courier_port))


def message_key(settings: Settings) -> bytes:
    """Return the key that seals messages in the outbox; of the key folder, the courier needs this file alone."""
    return shared_secret(settings.signing_key_folder, "message-key")


async def migrate_identity(settings: Settings) -> list[str]:
    """Bring identity's schema up to date; safe to repeat. Returns what was new."""
    async with connect_mongo(settings, "migrate") as client:
        return await apply_migrations(client[DATABASE], MIGRATIONS)
