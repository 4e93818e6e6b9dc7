"""Caddy, the one address that clients know: which path goes to which service, and what is said when none can.

Here it serves plain HTTP, on loopback alone.
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from earlybird.stack.binaries import find_caddy
from earlybird.stack.child import Child, Program
from earlybird.stack.readiness import http_answers

IN_FLIGHT_PER_SLOT = 16  # of requests that hash: about half a second of work
REQUEST_SECONDS = 10  # from connection or first byte to the end of the head, and to the end of the body

_NOWHERE = {"status": "error", "message": "There is nothing at this address.", "code": "not_found"}
_AWAY = {
    "status": "error",
    "message": "The service is not available right now. Try again in a moment.",
    "code": "unavailable",
}
# An upstream closes idle connections after 65 s; Caddy does so earlier, and never sends on a dying one.
# What is harmless twice may be sent twice: /login, and all that is done with a voucher, by idempotency key or by
# state. /register may not: its second try would find the name taken.
_CADDYFILE = """\
{
	admin off
	auto_https off
	persist_config off
	grace_period 10s
	log {
		exclude http.log.error
	}
	servers {
		timeouts {
			read_header %(request_seconds)gs
			read_body %(request_seconds)gs
		}
	}
}

(patient) {
	lb_try_duration 2s
	lb_try_interval 50ms
}

(balanced) {
	lb_policy least_conn
	lb_retry_match {
		method GET
	}
	lb_retry_match {
		path /login /voucher/redemptions /voucher/reservations
	}
	lb_retry_match {
		path /voucher/redemptions/*/refund /voucher/reservations/*/confirm /voucher/reservations/*/release
	}
	request_buffers 16KiB
	fail_duration 1s
	health_uri /readyz
	health_interval 1s
	health_timeout 1s
	transport http {
		dial_timeout 1s
		response_header_timeout 15s
		keepalive 30s
		keepalive_idle_conns_per_host 256
	}
}

http://:%(port)d {
	bind 127.0.0.1

	# One request in flight more is refused here at once, for a third of what it costs if the service refuses it.
	# So there is no waiting for an upstream: one that is away is passed over.
	@hashing {
		method POST
		path /register /login
	}
	handle @hashing {
		reverse_proxy %(identity)s {
			import balanced
			lb_retries 2
			unhealthy_request_count %(in_flight)d
		}
	}

	@identity {
		path /register /login /account /.well-known/*
		path /audit-log/identity /docs /docs/* /openapi/identity.json
	}
	handle @identity {
		reverse_proxy %(identity)s {
			import balanced
			import patient
		}
	}

	@promotions {
		path /voucher /voucher/* /vouchers /campaigns /campaigns/*
		path /audit-log/promotions /openapi/promotions.json
	}
	handle @promotions {
		reverse_proxy %(promotions)s {
			import balanced
			import patient
		}
	}

	handle {
		header Content-Type application/json
		respond `%(nowhere)s` 404
	}

	handle_errors {
		header Content-Type application/json
		header Retry-After 1
		respond `%(away)s` 503
	}
}
"""


def caddy(
    root: Path,
    port: int,
    identity: Sequence[Child],
    promotions: Sequence[Child],
    *,
    in_flight: int = IN_FLIGHT_PER_SLOT,
    request_seconds: float = REQUEST_SECONDS,
) -> Program:
    """Write the Caddyfile and return Caddy as a program; it answers when it says 404 where nothing is.

    Each identity gets `in_flight` registrations and logins at once, and no more.
    """
    caddyfile = root / "Caddyfile"
    caddyfile.write_text(
        _CADDYFILE
        % {
            "port": port,
            "request_seconds": request_seconds,
            "in_flight": in_flight,
            "identity": _upstreams(identity),
            "promotions": _upstreams(promotions),
            "nowhere": json.dumps(_NOWHERE, separators=(",", ":")),
            "away": json.dumps(_AWAY, separators=(",", ":")),
        }
    )
    home = root / "caddy"
    home.mkdir(exist_ok=True)
    return Program(
        "caddy",
        [str(find_caddy()), "run", "--config", str(caddyfile), "--adapter", "caddyfile"],
        port,
        {**dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(home)), "GOMAXPROCS": str(_cores())},
        partial(http_answers, f"http://127.0.0.1:{port}/", 404),
    )


def _cores() -> int:
    """Say how many cores Caddy may use: half of them. The Go runtime looks for work on every one that it may use,
    which on a machine whose cores are all busy with hashes doubled the price of a refused login.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def _upstreams(children: Sequence[Child]) -> str:
    return " ".join(f"127.0.0.1:{child.program.port}" for child in children)
