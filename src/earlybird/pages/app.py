"""The pages as a role: their routes, errors and files put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from earlybird.client import AsyncClient, Refused, Unavailable
from earlybird.errors import Refusal
from earlybird.infra.http.app import create_web_app, provide
from earlybird.infra.http.metrics import add_metrics
from earlybird.infra.http.server import HttpServer, add_health
from earlybird.infra.processes import Role, RoleGroup
from earlybird.infra.tracing import open_tracing
from earlybird.pages.console import campaign_routes, health_routes, people_routes, webhook_routes, winner_routes
from earlybird.pages.console.health_routes import Targets
from earlybird.pages.console.live import LiveCampaigns
from earlybird.pages.customer import account_routes, home_routes, top_up_routes
from earlybird.pages.headers import SafeHeaders
from earlybird.pages.visits import LoginNeeded, Look, StaleForm, Visit
from earlybird.settings import Settings
from earlybird.status.targets import parse_targets

log = structlog.get_logger()


@asynccontextmanager
async def pages_role(settings: Settings) -> AsyncIterator[Role]:
    """The pages. They serve without anything else: what the API does not answer, they say."""
    async with AsyncClient(settings.api_url) as client, open_tracing(settings, "pages") as tracing:
        app = create_pages_app(client, Targets(parse_targets(settings.status_targets), settings.identity_ca_file))
        add_health(app, {})
        add_metrics(app)
        front = SafeHeaders(app)
        yield RoleGroup(HttpServer(app, settings, settings.pages_port, in_front=front, tracing=tracing))


def create_pages_app(client: AsyncClient, targets: Targets) -> FastAPI:
    """Put the routes together."""
    app = create_web_app("pages", version("earlybird"), public_docs=False)
    look = Look()
    provide(app, look, client, targets, LiveCampaigns())
    customer = home_routes, account_routes, top_up_routes
    console = campaign_routes, winner_routes, people_routes, webhook_routes, health_routes
    for routes in (*customer, *console):
        app.include_router(routes.router)
    app.add_api_route("/static/{name}", _static, include_in_schema=False)
    for kind in (LoginNeeded, StaleForm, Refused, Unavailable, Refusal, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


async def _static(request: Request) -> Response:
    look: Look = request.app.state.built[Look]
    found = look.files.answer(request.url.path)
    if found is None:
        raise HTTPException(404)
    return found


async def _answer_error(request: Request, error: Exception) -> Response:
    built = request.app.state.built
    visit = Visit(request, built[Look], built[AsyncClient])
    match error:
        case LoginNeeded():
            return visit.log_in_page(had_session=error.had_session)
        case StaleForm():
            return visit.page("error.html", 403, kind="stale_form", wait=None)
        case Unavailable():
            response = visit.page("error.html", 503, kind="unavailable", wait=error.retry_after_seconds)
            response.headers["Retry-After"] = str(error.retry_after_seconds)
            return response
        case Refused(status=403) | Refusal(code="forbidden"):
            return visit.page("error.html", 403, kind="forbidden", wait=None)
        case Refused(status=404) | HTTPException(status_code=404 | 405):
            return visit.page("error.html", 404, kind="not_found", wait=None)
        case Refused() | Refusal() | HTTPException():
            return visit.page("error.html", 400, kind="refused", wait=None)
    log.error("page_failed", path=request.url.path, error=type(error).__name__)
    return visit.page("error.html", 500, kind="internal", wait=None)
