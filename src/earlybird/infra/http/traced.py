"""Server spans: one around each request that is sampled.

The decision is made here, once, at the head: as the caller has decided, if the request has a W3C `traceparent`,
and by chance otherwise. The balancer takes the header away from strangers. A request that is not sampled makes no
object of OpenTelemetry.
"""

import random

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earlybird.infra.tracing import NOT_SAMPLED, Tracing, current, note_failure, read_context, tracer_under_way

_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every second, and nobody's request
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def trace_requests(app: ASGIApp, tracing: Tracing) -> ASGIApp:
    """Return the application with a span around each sampled request; off, the application itself."""
    return app if tracing.tracer is None else TracedRequests(app, tracing.tracer, tracing.ratio)


class TracedRequests:
    """A server span around each sampled request; it decides which are. In front of everything that may refuse."""

    def __init__(self, app: ASGIApp, tracer: Tracer, ratio: float) -> None:
        self._app, self._tracer, self._ratio = app, tracer, ratio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, traced or not."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name == b"traceparent"]
        parent = read_context(sent[0].decode("latin-1")) if len(sent) == 1 else None
        if self._is_sampled(parent):
            tracer_under_way.set(self._tracer)  # each request has a task, and a context, of its own
            await self._trace(parent or Context(), scope, receive, send)
        else:
            tracer_under_way.set(NOT_SAMPLED)
            await self._app(scope, receive, send)

    def _is_sampled(self, parent: Context | None) -> bool:
        if parent is None:
            return random.random() < self._ratio  # noqa: S311  # no secret
        return trace.get_current_span(parent).get_span_context().trace_flags.sampled

    async def _trace(self, parent: Context, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, {"http.request.method": method})

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:  # as HTTP counts
                    span.set_status(StatusCode.ERROR)
            await send(message)

        with current(span):
            try:
                await self._app(scope, receive, send_noted)
            except BaseException as error:
                note_failure(span, error)
                raise
            finally:
                # A route's template, never the path or the query that was sent: somebody may be named in them.
                route = getattr(scope.get("route"), "path", None) or scope.get("answered_path")
                if route:
                    span.set_attribute("http.route", route)
                    span.update_name(f"{method} {route}")
                span.end()
