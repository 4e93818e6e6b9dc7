"""promotions' composition root: the only place that builds its objects."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

import httpx2
from fastapi import FastAPI

from earlybird.infra.http_server import HttpServer, add_health
from earlybird.infra.mongo import apply_migrations, connect_mongo, ping_primary
from earlybird.infra.nats import connect_nats
from earlybird.infra.roles import Role, RoleGroup
from earlybird.infra.valkey import connect_valkey
from earlybird.infra.web import create_web_app
from earlybird.promotions.granter import Granter
from earlybird.promotions.migrations import MIGRATIONS
from earlybird.promotions.routes import promotions_routes
from earlybird.promotions.service import Promotions
from earlybird.promotions.store import DATABASE, VoucherStore
from earlybird.promotions.voucher_cache import VoucherCache
from earlybird.settings import Settings
from earlybird.tokens import PublicKeys, TokenVerifier

_BROKER_SECONDS = 2  # a request that NATS cannot serve, having no leader, is asked again after this


@asynccontextmanager
async def promotions_role(settings: Settings) -> AsyncIterator[Role]:
    """The service that people see their vouchers at."""
    async with (
        connect_mongo(settings, "promotions") as client,
        connect_valkey(settings, "promotions") as valkey,
        httpx2.AsyncClient() as http,
    ):
        keys = PublicKeys(settings.jwks_url, settings.jwks_cooldown_seconds, http)
        verifier = TokenVerifier(
            keys, settings.token_issuer, settings.token_audience, memory=settings.token_memory
        )
        cache = VoucherCache(valkey, settings.voucher_cache_seconds, settings.no_voucher_cache_seconds)
        app = create_promotions_app(Promotions(VoucherStore(client[DATABASE]), cache), verifier)
        add_health(app, {"mongodb": partial(ping_primary, client), "keys": keys.check})
        yield HttpServer(app, settings.host, settings.promotions_port, shutdown_seconds=settings.shutdown_seconds)


def create_promotions_app(promotions: Promotions, verifier: TokenVerifier) -> FastAPI:
    """Put the routes together."""
    app = create_web_app("promotions", version("earlybird"))
    app.include_router(promotions_routes(promotions, verifier))
    return app


@asynccontextmanager
async def granter_role(settings: Settings) -> AsyncIterator[Role]:
    """The granter (stream → vouchers), with health checks."""
    async with (
        connect_mongo(settings, "granter") as client,
        connect_valkey(settings, "granter") as valkey,
        connect_nats(settings, "granter") as broker,
    ):
        cache = VoucherCache(valkey, settings.voucher_cache_seconds, settings.no_voucher_cache_seconds)
        granter = Granter(broker.jetstream(timeout=_BROKER_SECONDS), VoucherStore(client[DATABASE]), cache)
        app = create_web_app("granter", version("earlybird"))
        add_health(app, {"granter": granter.check})
        http = HttpServer(app, settings.host, settings.granter_port, shutdown_seconds=settings.shutdown_seconds)
        yield RoleGroup(granter, http)


async def migrate_promotions(settings: Settings) -> list[str]:
    """Bring promotions' schema up to date; safe to repeat. Returns what was new."""
    async with connect_mongo(settings, "migrate") as client:
        return await apply_migrations(client[DATABASE], MIGRATIONS)
