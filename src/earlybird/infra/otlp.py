"""How spans leave: OpenTelemetry's SDK and its exporter by OTLP/HTTP. Imported only where tracing is on."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

log = structlog.get_logger()

_QUEUE_SPANS = 2048  # beyond it spans are dropped: a request never waits for an exporter
_BATCH_SPANS = 512
_BATCH_MS = 1000
_EXPORT_SECONDS = 2  # for a batch, all attempts together; then it is dropped
_FLUSH_SECONDS = 2  # at the end


@asynccontextmanager
async def exporting(url: str, service: str) -> AsyncIterator[Tracer]:
    """Give a tracer whose spans are sent to this address, until the block ends.

    What begins a span has decided that it is sampled, so all are. `OTEL_EXPORTER_OTLP_HEADERS` and
    `OTEL_RESOURCE_ATTRIBUTES` are read, as by any program that uses the SDK.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for each batch: we say it once
    named = Resource.create({"service.name": service, "service.version": version("earlybird")})
    provider = TracerProvider(sampler=ALWAYS_ON, resource=named, shutdown_on_exit=False)
    exporter = _SaysOnce(OTLPSpanExporter(url, timeout=_EXPORT_SECONDS))
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=_QUEUE_SPANS,
            max_export_batch_size=_BATCH_SPANS,
            schedule_delay_millis=_BATCH_MS,
        )
    )
    try:
        yield provider.get_tracer("earlybird", version("earlybird"))
    finally:
        # A thread that nothing waits for at the end of the process: the SDK would wait for half a minute.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _FLUSH_SECONDS)


class _SaysOnce(SpanExporter):
    """Exports, and logs one warning when that begins to fail, not one for each batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are lost."""
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning("traces_not_exported", meaning="spans are dropped until the collector answers again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """Give up what is still being sent."""
        self._exporter.shutdown()
