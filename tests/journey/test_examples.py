"""The examples run as a reader runs them, against the stack, and do what they say."""

import asyncio
import importlib.util
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import nats
import pytest

from earlybird.infra.mongo import Client
from free_ports import free_port
from journey.customers import newcomer_token, until_voucher
from journey.example_programs import EXAMPLES, bearer, proxy, running
from journey.records import close_campaigns, open_campaign
from journey.stack_client import ENVIRONMENT, RunningStack, attempt
from journey.test_tokens_from_outside import FORGERIES, Forge, forge
from journey.test_verified_by_others import OURS_TO_CHECK

__all__ = ["forge"]
REDEEMED = "earlybird.promotions.voucher.redeemed.v1"
ORDER = {"amount": 100_000, "card": "4111"}


@pytest.fixture
async def shop(stack: RunningStack, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    port = free_port()
    command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--factory", "shop:create_shop", "--port", str(port)]
    async with (
        running("shop", [sys.executable, *command], port, tmp_path, EARLYBIRD=stack.url) as address,
        httpx2.AsyncClient(base_url=address, trust_env=False, timeout=30) as client,
    ):
        yield client


async def test_the_shop_takes_the_voucher_off_once_and_an_order_may_be_sent_again(
    shop: httpx2.AsyncClient, http: httpx2.AsyncClient, mongo: Client
) -> None:
    await open_campaign(mongo, 1)
    token = await newcomer_token(http)
    await until_voucher(http, token)

    async def order(name: str, **changes: object) -> tuple[int, Any]:
        answer = await shop.post(f"/orders/{name}", json=ORDER | changes, headers=bearer(token))
        return answer.status_code, answer.json().get("paid")

    assert await order("shop-1", card="declined") == (402, None)
    assert await order("shop-2") == (200, 70_000)
    assert await order("shop-2") == (200, 70_000), "sent again"
    assert await order("shop-3") == (200, 100_000), "the voucher is spent"
    found = (await http.get("/vouchers", headers=bearer(token))).json()["vouchers"]
    assert [voucher["state"] for voucher in found] == ["redeemed"]
    await close_campaigns(mongo)


async def test_the_shop_takes_no_forged_token(
    shop: httpx2.AsyncClient, http: httpx2.AsyncClient, forge: Forge
) -> None:
    async def status(token: str) -> int:
        headers = {b"Authorization": f"Bearer {token}".encode()}
        return (await shop.post("/orders/shop-4", json=ORDER, headers=headers)).status_code

    assert await status(await newcomer_token(http)) == 200
    assert (await shop.post("/orders/shop-4", json=ORDER)).status_code == 401
    answers = {case: await status(forged(forge)) for case, forged in FORGERIES.items()}
    taken = {case for case, answer in answers.items() if answer != 401}
    assert {case for case in taken if not OURS_TO_CHECK.fullmatch(case)} == set()
    assert {answers[case] for case in taken} <= {409}, "what is signed by identity itself, earlybird refuses"
    assert len(FORGERIES) - len(taken) > 60


def caddy() -> str | None:
    """Find Caddy, beside this Python or on the PATH."""
    return shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


@pytest.mark.skipif(caddy() is None, reason="Caddy is not installed")
async def test_caddy_asks_earlybird_and_learns_at_once_of_a_session_that_has_ended(
    stack: RunningStack, http: httpx2.AsyncClient, tmp_path: Path
) -> None:
    token, command = await newcomer_token(http), [str(caddy()), "run", "--adapter", "caddyfile", "--config"]
    async with proxy("Caddyfile", command, stack.url, tmp_path, XDG_CONFIG_HOME=str(tmp_path)) as (client, seen):
        assert (await client.post("/pay", json=ORDER, headers=bearer(token))).status_code == 200
        assert (await client.get("/")).status_code == 401
        assert (await http.post("/logout", headers=bearer(token))).status_code == 200
        async with asyncio.timeout(10):
            while (await client.get("/", headers=bearer(token))).status_code != 401:
                pass
    assert seen


@asynccontextmanager
async def listening(stack: RunningStack, file: Path, name: str) -> AsyncIterator[Callable[[], Any]]:
    """Run the consumer of events; give what reads its next line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "voucher_events.py"), stack.file["nats_url"], str(file), name),
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout
    try:
        yield process.stdout.readline
    finally:
        process.kill()
        await process.communicate()


async def test_the_listener_counts_each_event_once_also_when_it_is_killed_and_sent_one_twice(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client, tmp_path: Path
) -> None:
    campaign = str(await open_campaign(mongo, 2))
    file, name = tmp_path / "totals.db", "test-examples"

    async def earn_and_spend() -> None:
        token = await newcomer_token(http)
        await until_voucher(http, token)
        order = {"order_id": "listened", "amount": 100_000, "currency": "VND"}
        headers = bearer(token) | {"Idempotency-Key": "listened"}
        assert (await http.post("/voucher/redemptions", json=order, headers=headers)).status_code == 200

    def totals() -> Any:
        query = "SELECT granted, given FROM totals WHERE campaign_id = ?"
        with closing(sqlite3.connect(file)) as database:
            try:
                return database.execute(query, [campaign]).fetchone()
            except sqlite3.OperationalError:  # the listener has not made its tables yet
                return None

    async def until(next_line: Callable[[], Any], what: tuple[int, int]) -> None:
        async with asyncio.timeout(30):
            while totals() != what:
                await next_line()

    await earn_and_spend()
    async with listening(stack, file, name) as next_line:
        await until(next_line, (1, 30_000))
    await earn_and_spend()  # while nobody listens
    connection = await nats.connect(stack.file["nats_url"])
    async with listening(stack, file, name) as next_line:
        await until(next_line, (2, 60_000))
        last = await connection.jetstream().get_last_msg("vouchers", REDEEMED)
        assert last.data
        # As after a restart of the publisher, more than an hour later: the very same event once more.
        await connection.jetstream().publish(REDEEMED, last.data)
        said = b"known %s" % json.loads(last.data)["id"].encode()
        async with asyncio.timeout(30):
            while not (await next_line()).startswith(said):
                pass
    assert totals() == (2, 60_000)
    await connection.jetstream().delete_consumer("vouchers", name)
    await connection.close()
    await close_campaigns(mongo)


@pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust is not installed: make bench does it"
)
async def test_locust_drives_the_customers_journey(stack: RunningStack, mongo: Client, tmp_path: Path) -> None:
    await open_campaign(mongo, 3)
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(EXAMPLES / "locustfile.py"),
        "--headless",
        "--host",
        stack.url,
    ]
    limits = ["--users", "5", "--spawn-rate", "5", "--run-time", "8s", "--exit-code-on-error", "1"]
    code, output = await attempt([*command, *limits, "--csv", str(tmp_path / "run")], tmp_path)
    assert code == 0, output
    assert "/voucher/redemptions" in (tmp_path / "run_stats.csv").read_text(), output
    await close_campaigns(mongo)
