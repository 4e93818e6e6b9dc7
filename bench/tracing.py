"""What traces cost: CPU of a role for each login and each GET /voucher, off and at 1 % sampling, in one run.

    python bench/tracing.py [rounds]

As `telemetry.py`, which does the measuring. `off` is the program as it comes, `without` the same with the traced
functions bare, as before there were traces. Spans go to a collector in this process, which throws them away.
"""

import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import telemetry
import uvloop
from telemetry import environment_of, measure_all, run

from earlybird.stack.servers import running_servers


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


def serve(variant: str, *roles: str) -> None:
    """Be a role: untouched, without anything of traces, or with 1 % sampled. In a process of its own."""
    if variant == "without":
        from earlybird.infra import tracing

        tracing.traced = lambda _: lambda work: work  # type: ignore[assignment,misc]

    if variant != "sampled":
        os.environ["EARLYBIRD_OTLP_URL"] = ""
    telemetry.serve("with", *roles)


async def main(rounds: int) -> None:
    telemetry.VARIANTS = ("without", "off", "sampled")
    telemetry.__file__ = __file__
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.daemon_threads = True
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data") as servers:
            environment = environment_of(servers, Path(folder)) | {"EARLYBIRD_OTLP_URL": address}
            await run("-m", "earlybird", "migrate", environment=environment)
            await measure_all(environment, rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        uvloop.run(main(int((sys.argv[1:] or ["90"])[0])))
