"""Traces: what happened to one request, from part to part, as OpenTelemetry spans.

Off, there is no tracer: a traced function looks at one context variable. What exports is imported by
`open_tracing` alone, when tracing is on. No attribute holds personal data or a secret, and no span quotes an
error. Why not FastAPI's own telemetry: docs/decisions/0021. Not here: requests (`http/traced.py`).
"""

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from earlybird.errors import Refusal
from earlybird.events import is_traceparent
from earlybird.settings import Settings

_HEADER = "traceparent"
NOT_SAMPLED = NoOpTracer()
_PROPAGATOR = TraceContextTextMapPropagator()
tracer_under_way: ContextVar[Tracer | None] = ContextVar("tracer_under_way", default=None)  # of a request


class Carrier(Protocol):
    """A dataclass that carries the context of the span that made it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def traceparent(self) -> str | None:
        """W3C trace context; None: not sampled."""


P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=Carrier)


class Tracing:
    """What one role traces. Without a tracer: nothing."""

    def __init__(self, tracer: Tracer | None = None, ratio: float = 0) -> None:
        """`ratio` of the requests that begin here are sampled; those of a caller are as the caller decided."""
        self.tracer = tracer
        self.ratio = ratio

    @contextmanager
    def each(
        self, name: str, items: Sequence[C], kind: SpanKind = SpanKind.INTERNAL, **attributes: str
    ) -> Iterator[Sequence[C]]:
        """Work on a batch: one span for each item that carries a context, and the items with their span's.

        A span of the whole batch would belong to no trace, or to many. Costs nothing where nothing was sampled.
        """
        if self.tracer is None or not any(item.traceparent for item in items):
            yield items
            return
        spans = [self._begin(name, item.traceparent, kind, attributes) for item in items]
        begun = [span for span in spans if span is not None]
        with ExitStack() as stack:
            if len(begun) == 1:  # what is logged meanwhile is about it
                stack.enter_context(current(begun[0]))
            try:
                yield [
                    item if span is None else replace(item, traceparent=_traceparent(span))
                    for item, span in zip(items, spans, strict=True)
                ]
            except BaseException as error:
                for span in begun:
                    note_failure(span, error)
                raise
            finally:
                for span in begun:
                    span.end()

    def _begin(
        self, name: str, traceparent: str | None, kind: SpanKind, attributes: Mapping[str, str]
    ) -> Span | None:
        parent = read_context(traceparent)
        if parent is None or self.tracer is None:
            return None
        return self.tracer.start_span(name, parent, kind, attributes)


def traced(name: str) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Decorate a coroutine function: each call of a sampled request is a span of this name."""

    def decorate(work: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @wraps(work)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            tracer = tracer_under_way.get()
            if tracer is None or tracer is NOT_SAMPLED:
                return await work(*args, **kwargs)
            with step(name):
                return await work(*args, **kwargs)

        return run

    return decorate


@contextmanager
def step(name: str) -> Iterator[None]:
    """Make what is done meanwhile a span of the request under way, if that is sampled."""
    tracer = tracer_under_way.get()
    if tracer is None or tracer is NOT_SAMPLED:
        yield
        return
    span = tracer.start_span(name)
    with current(span):
        try:
            yield
        except BaseException as error:
            note_failure(span, error)
            raise
        finally:
            span.end()


def current_traceparent() -> str | None:
    """Return the context of the span under way; None if there is none, or it is not sampled."""
    tracer = tracer_under_way.get()
    return None if tracer is None or tracer is NOT_SAMPLED else _traceparent(trace.get_current_span())


def trace_headers() -> dict[str, str]:
    """Return the headers that tell another service of the trace under way, also that it is not sampled."""
    tracer = tracer_under_way.get()
    if tracer is None:
        return {}
    unsampled = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    return {_HEADER: unsampled if tracer is NOT_SAMPLED else current_traceparent() or unsampled}


def add_trace_ids(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add `trace_id` and `span_id` to a log line, while a span is under way. A processor of structlog."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


@asynccontextmanager
async def open_tracing(settings: Settings, role: str) -> AsyncIterator[Tracing]:
    """Export the spans of this role until the block ends; what waits then is sent within two seconds, or lost."""
    if not settings.otlp_url:
        yield Tracing()
        return
    from earlybird.infra.otlp import exporting

    async with exporting(settings.otlp_url, f"earlybird-{role}") as tracer:
        yield Tracing(tracer, settings.trace_sampling)


def current(span: Span) -> AbstractContextManager[Span]:
    """Make this the span under way. What is raised is not noted in it: an error may quote people."""
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


def read_context(traceparent: str | None) -> Context | None:
    """Read a trace context; None where there is none, or it is no such thing."""
    if not is_traceparent(traceparent):
        return None
    found = _PROPAGATOR.extract({_HEADER: traceparent}, Context())
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(_HEADER)


def note_failure(span: Span, error: BaseException) -> None:
    """Name the kind of an error, and not what it says. A refusal is an answer, and no error."""
    if isinstance(error, Refusal):
        span.set_attribute("earlybird.refusal", error.code)
    else:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
