"""What traces cost at 1 % sampling: CPU of a role for each login and GET /voucher, against traces that are off.

    python bench/tracing.py [rounds]

As `telemetry.py`, which does the measuring: one process each, in which a signal takes the tracing of requests out
and puts it back. Spans go to a collector in this process, which throws them away.
"""

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvloop
from lab import laboratory
from telemetry import measure


class Collector(BaseHTTPRequestHandler):
    """Throws away what it gets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def make_switchable() -> None:
    """Take the tracing of requests out, and put it back, at each SIGUSR1."""
    from earlybird.infra.http.traced import TracedRequests

    async def hand_on(self: TracedRequests, *call: object) -> None:
        await self._app(*call)  # type: ignore[arg-type]

    both = [TracedRequests.__call__, hand_on]

    def swap(*_: object) -> None:
        both.reverse()
        TracedRequests.__call__ = both[0]  # type: ignore[method-assign,assignment]

    signal.signal(signal.SIGUSR1, swap)


async def main(rounds: int) -> None:
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.daemon_threads = True
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
    async with laboratory({"EARLYBIRD_OTLP_URL": address, "EARLYBIRD_TRACE_SAMPLING": "0.01"}) as lab:
        await measure(lab, rounds, "traced")


if __name__ == "__main__":
    uvloop.run(main(int((sys.argv[1:] or ["100"])[0])))
