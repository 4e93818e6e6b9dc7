"""What Envoy does with a request: which service gets it, how often it is sent, and what refuses it.

Envoy reads a request whole before it chooses a service. So a slow client holds a connection of Envoy, and no place
of a service. Not here: how Envoy is started (`balancer`), and what it answers by itself (`local_replies`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earlybird.stack.local_replies import NOWHERE, local_replies

Json = dict[str, Any]

BODY_LIMIT_BYTES = 16 * 1024
HEAD_LIMIT_KIB = 32
_IDLE_REQUESTS = 6  # an idle connection closes after as many times the time of one request
_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  # in a network where the balancer alone is reached
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_UNBOUNDED = 1_000_000  # Envoy's own limits are 1024 connections and requests, and 3 retries at once

_IDENTITY_PATHS = (
    *("/register", "/login", "/logout", "/logout-everywhere", "/sessions", "/password", "/account"),
    *("/verifications", "/verifications/confirm", "/receipt", "/seals/latest"),
    *("/people", "/people/search", "/first-logins/curve"),
    *("/audit-log/identity", "/docs", "/openapi/identity.json"),
)
_IDENTITY_FOLDERS = ("/.well-known/", "/docs/", "/people/")
_PROMOTIONS_PATHS = (
    *("/voucher", "/vouchers", "/place", "/campaigns", "/webhooks"),
    *("/audit-log/promotions", "/openapi/promotions.json"),
)
_PAGES_PATHS = ("/", "/offer", "/language", "/sign-up", "/log-in", "/log-out", "/verify", "/my", "/console")
_PAGES_FOLDERS = ("/my/", "/console/", "/static/")
_LIVE = {"safe_regex": {"regex": "/(my|console)/(.+/)?live"}}  # server-sent events: they have no end
_PROMOTIONS_FOLDERS = ("/voucher/", "/campaigns/", "/holders/", "/webhooks/")
# The services learn from here, and from nowhere else, who sends a request: a client's own header is replaced.
_CLIENT_ADDRESS = {
    "header": {"key": "x-client-address", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
# These may be sent twice: a second login changes nothing, and what is done with a voucher is protected by its
# idempotency key or its state. A second /register would find the name taken.
_REPEATABLE = {
    "identity": "/log(in|out(-everywhere)?)",
    "promotions": "/voucher/(quote|redemptions(/[^/]+/refund)?|reservations(/[^/]+/(confirm|release))?)",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Where Envoy serves TLS, and with what: PEM files of the certificate chain and the private key."""

    port: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Network:
    """Services on other machines: the name of each kind, of which DNS gives all addresses, and who signs for them.

    Then Envoy listens on every address, and speaks TLS to the services, and with its own papers to the pages.
    """

    hosts: Mapping[str, str]
    authority: Path
    inside: Tls


def configuration(
    port: int | None,
    identity: Sequence[int],
    promotions: Sequence[int],
    *,
    in_flight: int,
    request_seconds: float,
    trusted_proxies: int,
    tls: Tls | None = None,
    pages: Sequence[int] = (),
    inside: int | None = None,
    network: Network | None = None,
) -> Json:
    """Return the configuration of Envoy for services on these ports, and for clients on `port` and by `tls`.

    `inside` is the port on which the pages reach the API: the client's address that they hand on is kept there.
    All of it is on this machine, if there is no `network`.
    """
    http = _http(request_seconds, trusted_proxies, _routes(with_pages=bool(pages)), outside=True)
    own = _http(request_seconds, trusted_proxies, _routes(with_pages=False), outside=False)
    clusters = [
        _cluster("hashing", "identity", identity, network, in_flight * len(identity)),
        _cluster("identity", "identity", identity, network),
        _cluster("promotions", "promotions", promotions, network),
        *([_cluster("pages", "pages", pages, network)] if pages else []),
    ]
    return {
        "static_resources": {
            "listeners": [
                *([_listener(_LOOPBACK, port, http)] if port else []),
                *([_listener(_EVERYWHERE if network else _LOOPBACK, tls.port, http, tls)] if tls else []),
                *([_listener(_LOOPBACK, inside, own)] if inside else []),
                *([_listener(_EVERYWHERE, network.inside.port, own, network.inside)] if network else []),
            ],
            "clusters": clusters,
        }
    }


def _listener(host: str, port: int, http: Json, tls: Tls | None = None) -> Json:
    return {
        "name": f"front-{port}",
        "address": _address(host, port),
        "enable_reuse_port": False,  # so that a taken port is an error
        "filter_chains": [{"filters": [http], **({"transport_socket": _encrypted(tls)} if tls else {})}],
    }


def _encrypted(tls: Tls) -> Json:
    """Speak TLS 1.2 or 1.3 (OWASP ASVS 5.0, 12.1.1)."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": "TLSv1_2",
                    "tls_maximum_protocol_version": "TLSv1_3",
                },
                "tls_certificates": [
                    {
                        "certificate_chain": {"filename": str(tls.certificate)},
                        "private_key": {"filename": str(tls.key)},
                    }
                ],
                "alpn_protocols": ["http/1.1"],
            },
        },
    }


def _http(request_seconds: float, trusted_proxies: int, routes: list[Json], *, outside: bool) -> Json:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "codec_type": "HTTP1",
            "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "localhost"},
            "common_http_protocol_options": {"idle_timeout": _seconds(_IDLE_REQUESTS * request_seconds)},
            "request_headers_timeout": _seconds(request_seconds),
            "request_timeout": _seconds(request_seconds),
            # After a refusal, the connection stays open for this time, so that the client can read the refusal.
            "delayed_close_timeout": _seconds(request_seconds / 10),
            "stream_idle_timeout": "0s",  # `request_timeout` and the routes' timeouts are enough
            "max_request_headers_kb": HEAD_LIMIT_KIB,
            # Every client is a stranger: the headers with which one may direct Envoy (`x-envoy-...`) are removed.
            "use_remote_address": True,
            "xff_num_trusted_hops": trusted_proxies,  # what they add to X-Forwarded-For is believed
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 32}]},
            "generate_request_id": False,
            "server_header_transformation": "PASS_THROUGH",
            "local_reply_config": {"mappers": local_replies(BODY_LIMIT_BYTES, HEAD_LIMIT_KIB)},
            "http_filters": [
                _filter("buffer", "buffer.v3.Buffer", max_request_bytes=BODY_LIMIT_BYTES),
                _filter("router", "router.v3.Router", suppress_envoy_headers=True),
            ],
            "route_config": {
                "request_headers_to_add": [_CLIENT_ADDRESS] if outside else [],
                # A stranger does not decide what is traced.
                "request_headers_to_remove": ["traceparent", "tracestate"] if outside else [],
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            },
        },
    }


def _filter(name: str, kind: str, **options: object) -> Json:
    typed = {"@type": f"{_FILTERS}.http.{kind}", **options}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _routes(*, with_pages: bool) -> list[Json]:
    hashing = {"name": ":method", "string_match": {"exact": "POST"}}
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    again, once = "connect-failure,reset", "connect-failure"
    routes = [
        # Refused here, a request costs a third of what it costs in the service. It does not wait for a service.
        _route({"path": "/login", "headers": [hashing]}, "hashing", again, patient=False),
        _route({"path": "/register", "headers": [hashing]}, "hashing", once, patient=False),
    ]
    for cluster, paths, folders in (
        ("identity", _IDENTITY_PATHS, _IDENTITY_FOLDERS),
        ("promotions", _PROMOTIONS_PATHS, _PROMOTIONS_FOLDERS),
    ):
        for place in [*({"path": path} for path in paths), *({"prefix": folder} for folder in folders)]:
            repeatable = {
                "name": ":path",
                "string_match": {"safe_regex": {"regex": f"({_REPEATABLE[cluster]})(\\?.*)?"}},
            }
            routes += [
                _route({**place, "headers": [get]}, cluster, again),
                _route({**place, "headers": [repeatable]}, cluster, again),
                _route(place, cluster, once),
            ]
    if with_pages:
        places = [*({"path": path} for path in _PAGES_PATHS), *({"prefix": folder} for folder in _PAGES_FOLDERS)]
        routes.append(_route(_LIVE, "pages", once, timeout="0s"))
        routes += [_route({**place, "headers": [get]}, "pages", again) for place in places]
        routes += [_route(place, "pages", once) for place in places]
    reply = {"status": NOWHERE.status, "body": {"inline_string": "-"}}  # `local_replies` writes the body
    return [*routes, {"match": {"prefix": "/"}, "direct_response": reply}]


def _route(match: Json, cluster: str, retry_on: str, *, patient: bool = True, timeout: str = "15s") -> Json:
    return {
        "match": match,
        "route": {
            "cluster": cluster,
            "timeout": timeout,
            "retry_policy": {
                "retry_on": retry_on,
                "num_retries": 30 if patient else 3,  # for about two seconds, or at once
                "retry_back_off": {"base_interval": "0.05s" if patient else "0.001s", "max_interval": "0.1s"},
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3"
                            ".PreviousHostsPredicate"
                        },
                    }
                ],
                "host_selection_retry_max_attempts": 20,
            },
        },
    }


def _cluster(
    name: str, service: str, ports: Sequence[int], network: Network | None, in_flight: int = _UNBOUNDED
) -> Json:
    limits = {
        "max_requests": in_flight,
        **dict.fromkeys(("max_connections", "max_pending_requests", "max_retries"), _UNBOUNDED),
    }
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
        # A service closes idle connections after 65 s; Envoy does so earlier, and never sends on a dying one.
        "common_http_protocol_options": {"idle_timeout": "30s"},
    }
    host = network.hosts[service] if network else _LOOPBACK
    endpoints = [{"endpoint": {"address": _address(host, port)}} for port in ports]
    return {
        "name": name,
        **(_trusted(host, network.authority) if network else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "health_checks": [_health_check()],
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _trusted(host: str, authority: Path) -> Json:
    """Look the name up, and ask whoever is there to prove by a certificate that the name is theirs."""
    trusted: Json = {
        "trusted_ca": {"filename": str(authority)},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
    }
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    context = {"@type": tls, "sni": host, "common_tls_context": {"validation_context": trusted}}
    return {
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
    }


def _health_check() -> Json:
    times = ("timeout", "interval", "no_traffic_interval", "no_traffic_healthy_interval")
    return {
        **dict.fromkeys(times, "1s"),
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/readyz"},
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _seconds(value: float) -> str:
    return f"{value:g}s"
