"""promotions' composition root: the only place that builds its objects."""

import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import httpx2
from fastapi import FastAPI
from uuid_utils.compat import uuid7

from earlybird.access.accounts import Accounts
from earlybird.access.callers import Callers
from earlybird.access.public_keys import PublicKeys
from earlybird.access.revocation_feed import RevocationFeed
from earlybird.access.verifier import TokenVerifier
from earlybird.history import routes as history_routes
from earlybird.history.log import AuditLog
from earlybird.infra.http.app import create_web_app, provide
from earlybird.infra.http.metrics import Look, Reading, add_metrics, outbox_look
from earlybird.infra.http.server import HttpServer, add_health
from earlybird.infra.mail import mail_server
from earlybird.infra.mongo import Schema, apply_migrations, connect_mongo, ping_primary
from earlybird.infra.nats import REQUEST_SECONDS, connect_nats
from earlybird.infra.processes import Role, RoleAfter, RoleGroup
from earlybird.infra.pulling import BulkJetStream
from earlybird.infra.tracing import open_tracing
from earlybird.infra.valkey import connect_valkey
from earlybird.metrics import PLACER_LAG_ENTRIES, REMAINING, WEBHOOKS_DEAD
from earlybird.promotions import DATABASE
from earlybird.promotions.campaigns import routes as campaign_routes
from earlybird.promotions.campaigns.previews import CampaignPreviews
from earlybird.promotions.campaigns.shapes import NewCampaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.events.outbox import Outbox
from earlybird.promotions.events.publisher import Publisher
from earlybird.promotions.granting.caretaker import Caretaker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.granting.lag import GRANTER_GAUGES, sample_granter_lag
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.migrations import MIGRATIONS
from earlybird.promotions.places import routes as place_routes
from earlybird.promotions.places.placer import Placer, sample_placer_lag
from earlybird.promotions.places.receipts import Receipts
from earlybird.promotions.places.service import Places
from earlybird.promotions.places.store import PlaceStore
from earlybird.promotions.redemptions import routes as redemption_routes
from earlybird.promotions.redemptions.service import Redemptions
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.reports import routes as report_routes
from earlybird.promotions.reports.store import ReportStore
from earlybird.promotions.vouchers import routes as voucher_routes
from earlybird.promotions.vouchers.busy_read import BusyRead
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.store import VoucherStore
from earlybird.promotions.webhooks import routes as webhook_routes
from earlybird.promotions.webhooks.announcer import Announcer
from earlybird.promotions.webhooks.collector import Collector
from earlybird.promotions.webhooks.dispatcher import Dispatcher
from earlybird.promotions.webhooks.endpoints import EndpointStore
from earlybird.promotions.webhooks.model import Kind, networks
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.promotions.webhooks.senders import HttpSender, NoticeMailSender, Senders, SlackSender, WebhookSender
from earlybird.promotions.webhooks.service import Webhooks, webhook_key
from earlybird.promotions.withdrawals import routes as withdrawal_routes
from earlybird.promotions.withdrawals.service import Withdrawals
from earlybird.promotions.withdrawals.store import WithdrawalStore
from earlybird.settings import Settings
from earlybird.status.asking import Asker
from earlybird.status.targets import parse_targets


@asynccontextmanager
async def promotions_role(settings: Settings) -> AsyncIterator[Role]:
    """The service that people see their vouchers at."""
    async with (
        connect_mongo(settings, "promotions") as client,
        connect_valkey(settings, "promotions") as valkey,
        httpx2.AsyncClient(verify=_authorities(settings.identity_ca_file)) as http,
        open_tracing(settings, "promotions") as tracing,
    ):
        keys = PublicKeys(settings.jwks_url, settings.jwks_cooldown_seconds, http)
        feed = RevocationFeed(settings, "promotions")
        verifier = TokenVerifier(
            keys,
            settings.token_issuer,
            settings.token_audience,
            memory=settings.token_memory,
            check_caller=feed.check_caller,
        )
        database = client[DATABASE]
        cache = VoucherCache(valkey, settings.voucher_cache_seconds, settings.no_voucher_cache_seconds)
        campaigns = CampaignStore(database)
        vouchers = Vouchers(VoucherStore(database), cache)
        callers = Callers(verifier, Accounts(settings.account_url, http).confirm)
        app = create_promotions_app(
            vouchers,
            Redemptions(RedemptionStore(database), cache, customers_may_refund=settings.customers_may_refund),
            Withdrawals(WithdrawalStore(database), cache),
            campaigns,
            Places(PlaceStore(database), campaigns),
            Webhooks(database, webhook_key(settings), networks(settings.webhook_networks)),
            ReportStore(database),
            CampaignPreviews(database),
            Receipts(settings.receipt_url, http),
            AuditLog(database),
            callers,
            public_docs=settings.public_docs,
        )
        add_health(
            app,
            {
                "mongodb": partial(ping_primary, client),
                "schema": Schema(database, MIGRATIONS).check,
                "keys": keys.check,
                "revocations_at_start": feed.check_start,
            },
            watched={"revocations": feed.check},
        )
        add_metrics(app)
        busy = partial(BusyRead, callers=callers, vouchers=vouchers)
        yield RoleGroup(feed, HttpServer(app, settings, settings.promotions_port, busy=busy, tracing=tracing))


def _authorities(file: Path | None) -> ssl.SSLContext | bool:
    """Return who may sign identity's certificate."""
    return True if file is None else ssl.create_default_context(cafile=file)


def create_promotions_app(
    vouchers: Vouchers,
    redemptions: Redemptions,
    withdrawals: Withdrawals,
    campaigns: CampaignStore,
    places: Places,
    webhooks: Webhooks,
    reports: ReportStore,
    previews: CampaignPreviews,
    receipts: Receipts,
    log: AuditLog,
    callers: Callers,
    *,
    public_docs: bool = True,
) -> FastAPI:
    """Put the routes together."""
    app = create_web_app("promotions", version("earlybird"), public_docs=public_docs)
    provide(app, vouchers, redemptions, withdrawals, campaigns, places, webhooks)
    provide(app, reports, previews, receipts, log, callers)
    looking = report_routes, place_routes, voucher_routes
    changing = redemption_routes, campaign_routes, withdrawal_routes, webhook_routes
    for routes in (*looking, *changing):
        app.include_router(routes.router)
    app.include_router(history_routes.router, prefix="/audit-log/promotions")
    return app


@asynccontextmanager
async def granter_role(settings: Settings) -> AsyncIterator[Role]:
    """The granter (stream → vouchers), with health checks; beside it the caretaker, placer and publisher."""
    async with (
        connect_mongo(settings, "granter") as client,
        connect_valkey(settings, "granter") as valkey,
        connect_nats(settings, "granter") as broker,
        open_tracing(settings, "granter") as tracing,
    ):
        database, jetstream = client[DATABASE], BulkJetStream(broker, timeout=REQUEST_SECONDS)
        cache = VoucherCache(valkey, settings.voucher_cache_seconds, settings.no_voucher_cache_seconds)
        vouchers = GrantStore(database)
        places, outbox, campaigns = PlaceStore(database), Outbox(database), CampaignStore(database)
        granter = Granter(jetstream, vouchers, cache, tracing)
        caretaker = Caretaker(jetstream, campaigns, vouchers, cache)
        placer = Placer(jetstream, places)
        publisher = Publisher(outbox, jetstream, settings.stream_replicas)
        app = create_web_app("granter", version("earlybird"))
        workers = {"granter": granter, "caretaker": caretaker, "placer": placer, "publisher": publisher}
        add_health(app, {name: worker.check for name, worker in workers.items()})
        add_metrics(
            app,
            {
                "granter_lag": Look(partial(sample_granter_lag, vouchers, jetstream), GRANTER_GAUGES),
                "placer_lag": Look(partial(sample_placer_lag, places), (PLACER_LAG_ENTRIES,)),
                "vouchers_outbox": outbox_look("vouchers", outbox.depth),
                "remaining": Look(partial(_sample_remaining, campaigns), (REMAINING,)),
            },
        )
        working = RoleAfter(Schema(database, MIGRATIONS).wait, RoleGroup(*workers.values()))
        yield RoleGroup(working, HttpServer(app, settings, settings.granter_port))


@asynccontextmanager
async def webhooks_role(settings: Settings) -> AsyncIterator[Role]:
    """The collector (stream → queues), the dispatcher (queues → endpoints) and the announcer (notices)."""
    key, allowed = webhook_key(settings), networks(settings.webhook_networks)
    async with (
        connect_mongo(settings, "webhooks") as client,
        connect_nats(settings, "webhooks") as broker,
        aclosing(HttpSender(allowed)) as http,
        aclosing(Asker(settings.identity_ca_file)) as asker,
    ):
        database, jetstream = client[DATABASE], broker.jetstream(timeout=REQUEST_SECONDS)
        senders = Senders(
            {
                Kind.WEBHOOK: WebhookSender(http, key),
                Kind.SLACK: SlackSender(http),
                Kind.MAIL: NoticeMailSender(mail_server(settings) if settings.smtp_url else None),
            }
        )
        queues = QueueStore(database)
        workers = {
            "collector": Collector(jetstream, queues),
            "dispatcher": Dispatcher(EndpointStore(database), queues, senders),
            "announcer": Announcer(CampaignStore(database), queues, asker, parse_targets(settings.status_targets)),
        }
        app = create_web_app("webhooks", version("earlybird"))
        add_health(app, {name: worker.check for name, worker in workers.items()})
        dead = Look(partial(_sample_dead, queues), (WEBHOOKS_DEAD,))
        add_metrics(app, {"webhooks": outbox_look("webhooks", queues.depth), "webhooks_dead": dead})
        working = RoleAfter(Schema(database, MIGRATIONS).wait, RoleGroup(*workers.values()))
        yield RoleGroup(working, HttpServer(app, settings, settings.webhooks_port))


async def _sample_dead(queues: QueueStore) -> Reading:
    return {WEBHOOKS_DEAD: await queues.dead()}


async def _sample_remaining(campaigns: CampaignStore) -> Reading:
    current = await campaigns.find_current()
    return {} if current is None else {REMAINING: current.remaining}


async def migrate_promotions(settings: Settings) -> list[str]:
    """Bring promotions' schema up to date; safe to repeat. Returns what was new."""
    async with connect_mongo(settings, "migrate") as client:
        return await apply_migrations(client[DATABASE], MIGRATIONS)


async def open_first_campaign(settings: Settings) -> None:
    """Open a campaign of 100 vouchers at 30 % if there was never one; for the local stack."""
    async with connect_mongo(settings, "up") as client:
        campaigns = CampaignStore(client[DATABASE])
        if not await campaigns.find_all(1):
            terms = NewCampaign(
                name="Launch",
                discount=30,
                number_of_promotion=100,
                description="30 % off your next mobile top-up",
            )
            record = await campaigns.create(terms.draft(uuid7()), "up")
            await campaigns.open(record.campaign.id, "up")
