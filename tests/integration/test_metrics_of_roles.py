"""What `/metrics` of the real roles says while people log in."""

import httpx2
from people import open_campaign, registration, until_judged
from prometheus_client.parser import text_string_to_metric_families
from services import Ports, environment, serving_here, until_ready

from earlybird.infra.mongo import Client
from earlybird.settings import Settings


async def metric(http: httpx2.AsyncClient, port: int, name: str, **labels: str) -> float | None:
    text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


async def test_a_login_is_counted_on_its_whole_way(mongo: Client, settings: Settings) -> None:
    ports = Ports()
    await open_campaign(mongo, 100)
    roles = "identity", "promotions", "relay", "granter"
    async with serving_here(environment(settings, ports), *roles), httpx2.AsyncClient() as http:
        await until_ready(http, ports.identity, ports.promotions, ports.relay, ports.granter)
        identity = f"http://127.0.0.1:{ports.identity}"
        before = await metric(http, ports.identity, "earlybird_logins_total", outcome="succeeded") or 0
        await http.post(f"{identity}/register", json=registration(1))
        login = {"username": registration(1)["username"], "password": registration(1)["password"]}
        assert (await http.post(f"{identity}/login", json=login)).status_code == 200
        assert (await http.post(f"{identity}/login", json=login | {"password": "wrong"})).status_code == 400
        assert await metric(http, ports.identity, "earlybird_logins_total", outcome="succeeded") == before + 1
        assert await metric(http, ports.identity, "earlybird_logins_total", outcome="invalid_credentials")
        routes = [
            await metric(http, ports.identity, "earlybird_http_request_duration_seconds_count", route=route)
            for route in ("/register", "/login", "/metrics")
        ]
        assert all(routes)
        await until_judged(mongo, 1)
        for name, value in {
            "ledger_head": 1,
            "stream_head": 1,
            "relay_lag_entries": 0,
            "relay_lag_seconds": 0,
        }.items():
            assert await metric(http, ports.relay, f"earlybird_{name}") == value
        assert await metric(http, ports.granter, "earlybird_cursor") == 1
        for name, value in {"granter_lag_entries": 0, "granter_lag_seconds": 0}.items():
            assert await metric(http, ports.granter, f"earlybird_{name}") == value
        assert await metric(http, ports.granter, "earlybird_campaign_vouchers_remaining") == 99
        assert await metric(http, ports.granter, "earlybird_worker_working", worker="granter") == 1
        assert await metric(http, ports.identity, "earlybird_mongodb_pool_connections", state="open")
