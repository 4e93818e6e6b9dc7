"""Sessions end when told, at every service; keys rotate without one failed request."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx2
import pytest
from front_door import PASSWORD, Door, front_door
from nats.aio.client import Client as NatsClient
from services import environment

from earlybird.access.revocation_feed import BUCKET, open_bucket
from earlybird.infra.mongo import Client
from earlybird.settings import Settings

NEW = "another horse battery"


async def codes(door: Door, token: str) -> set[str]:
    """Say what both services answer to this token."""
    answers = [await door.ask("/account", token), await door.ask("/vouchers", token)]
    return {"success" if answer.is_success else answer.json()["code"] for answer in answers}


async def becomes(check: Callable[[], Awaitable[object]], expected: object, within_seconds: float = 1) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(within_seconds):
        while await check() != expected:
            await asyncio.sleep(0.01)


async def test_a_session_is_listed_and_ends_everywhere_within_a_second(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada, bob = await door.register(1), await door.register(2)
        agent = {"User-Agent": "Ada's phone " + "x" * 100}
        first = await door.token(ada, at="203.0.113.7", **agent)
        second, other = await door.token(ada), await door.token(bob)
        listed = (await door.ask("/sessions", second)).json()["sessions"]
        assert [(one["is_this_one"], one["network"]) for one in listed] == [
            (True, "127.0.0.0/16"),
            (False, "203.0.0.0/16"),
        ]
        assert listed[1]["device"].startswith("Ada's phone")
        assert len(listed[1]["device"]) <= 80
        assert (await door.ask("/logout", first, "POST")).json() == {"status": "success"}
        await becomes(lambda: codes(door, first), {"invalid_token"})
        assert await codes(door, second) == await codes(door, other) == {"success"}
        assert len((await door.ask("/sessions", second)).json()["sessions"]) == 1
        third = await door.token(ada)
        assert (await door.ask("/logout-everywhere", second, "POST")).json() == {"status": "success"}
        for token in (second, third):
            await becomes(partial(codes, door, token), {"invalid_token"})
        assert await codes(door, await door.token(ada)) == await codes(door, other) == {"success"}


async def test_a_changed_password_ends_all_other_sessions(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada = await door.register(1)
        here, there = await door.token(ada), await door.token(ada)

        async def change(current: str, new: str) -> tuple[int, str]:
            body = {"current_password": current, "new_password": new}
            answer = await door.ask("/password", here, "POST", body)
            return answer.status_code, answer.json().get("code", "")

        assert await change("wrong", NEW) == (401, "invalid_credentials")
        assert await change(PASSWORD, "short") == (422, "invalid_field")
        assert await change(PASSWORD, "password") == (422, "weak_password")
        assert await change(PASSWORD, "person-1 person-1") == (422, "weak_password")
        assert await codes(door, there) == {"success"}
        assert await change(PASSWORD, NEW) == (200, "")
        await becomes(lambda: codes(door, there), {"invalid_token"})
        assert await codes(door, here) == {"success"}
        assert (await door.log_in(ada)).json()["code"] == "invalid_credentials"
        assert await codes(door, await door.token(ada, NEW)) == {"success"}
        assert [await change(f"wrong {i}", NEW) for i in range(12)][-1] == (429, "too_many_attempts")


async def test_by_a_setting_each_person_has_one_session(mongo: Client, settings: Settings, tmp_path: Path) -> None:
    async with front_door(settings, tmp_path, EARLYBIRD_ONE_SESSION_PER_PERSON="true") as door:
        ada = await door.register(1)
        first, second = await door.token(ada), await door.token(ada)
        await becomes(lambda: codes(door, first), {"invalid_token"})
        assert await codes(door, second) == {"success"}


async def test_an_entry_that_is_none_of_ours_stops_nobody(
    mongo: Client, broker: NatsClient, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        token = await door.token(await door.register(1))
        bucket = await open_bucket(broker.jetstream(), 1)
        for key in ("user.nobody.1", "role.x", "key"):
            await bucket.put(key, b"")
        await door.ask("/logout", token, "POST")
        await becomes(lambda: codes(door, token), {"invalid_token"})
        assert door.process.returncode is None
    await broker.jetstream().delete_key_value(BUCKET)


async def test_a_revocation_outlives_a_restart(mongo: Client, settings: Settings, tmp_path: Path) -> None:
    async with front_door(settings, tmp_path) as door:
        token = await door.token(await door.register(1))
        await door.ask("/logout", token, "POST")
    async with front_door(settings, tmp_path) as door:
        assert await codes(door, token) == {"invalid_token"}, "it is known before the service is ready"


@pytest.mark.parametrize("refuse", [pytest.param("false", marks=pytest.mark.slow), "true"])
async def test_a_service_that_cannot_follow_the_feed_says_so_and_goes_on_or_refuses(
    mongo: Client, settings: Settings, tmp_path: Path, refuse: str
) -> None:
    changes = {"EARLYBIRD_NATS_URL": "nats://127.0.0.1:1", "EARLYBIRD_REFUSE_WHEN_REVOCATIONS_UNKNOWN": refuse}
    async with front_door(settings, tmp_path, **changes) as door:
        token = await door.token(await door.register(1))
        for port in (door.ports.identity, door.ports.promotions):
            ready = (await door.http.get(f"http://127.0.0.1:{port}/readyz")).json()
            assert ready == {"status": "success", "degraded": ["revocations"]}
        assert await codes(door, token) == ({"unavailable"} if refuse == "true" else {"success"})
        answer = await door.ask("/logout", token, "POST")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def earlybird(settings: Settings, door: Door, *words: str) -> str:
    """Run a command of ours on the test's deployment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "earlybird", *words),
        env=environment(settings, door.ports) | {"COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_keys_rotate_without_one_failed_request_and_a_retired_key_ends_its_tokens(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path, EARLYBIRD_JWKS_COOLDOWN_SECONDS="1") as door:
        ada = await door.register(1)
        old = await door.token(ada)
        failed: list[httpx2.Response] = []
        rotating = asyncio.Event()

        async def use() -> None:
            while not rotating.is_set():
                answers = [await door.log_in(ada)]
                token = answers[0].json().get("token", "")
                answers += [
                    await door.ask(path, one) for one in (old, token) for path in ("/account", "/vouchers")
                ]
                failed.extend(answer for answer in answers if answer.status_code != 200)

        users = [asyncio.create_task(use()) for _ in range(3)]
        said = await earlybird(settings, door, "keys", "rotate", "--in", "3")
        new = said.split()[0]
        async with asyncio.timeout(30):
            while "verifying" not in (listed := await earlybird(settings, door, "keys", "list")):
                pass
        until = time.monotonic() + 2  # tokens of the new key, at both services
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
        rotating.set()
        await asyncio.gather(*users)
        assert failed == []
        fresh = await door.token(ada)
        assert {key["kid"] for key in (await door.http.get("/.well-known/jwks.json")).json()["keys"]} > {new}
        [retired] = [line.split()[1] for line in listed.splitlines() if "verifying" in line]
        await earlybird(settings, door, "keys", "retire", retired)
        await becomes(lambda: codes(door, old), {"invalid_token"}, within_seconds=3)
        assert await codes(door, fresh) == {"success"}


async def test_no_secret_and_nothing_personal_is_logged(mongo: Client, settings: Settings, tmp_path: Path) -> None:
    async with front_door(settings, tmp_path, EARLYBIRD_LOG_LEVEL="debug") as door:
        ada = await door.register(1)
        token = await door.token(ada)
        await door.log_in(ada, "a wrong password")
        await door.log_in("+84912000001", "a wrong password")
        await door.ask("/password", token, "POST", {"current_password": PASSWORD, "new_password": NEW})
        await door.ask("/sessions", token)
        await door.ask("/logout", token, "POST")
        await door.ask("/account", token + "x")
        await door.post("/login", {"username": ada, "password": {"$ne": 1}})
        door.process.terminate()
        assert door.process.stdout is not None
        assert door.process.stderr is not None
        logged = (await door.process.stdout.read() + await door.process.stderr.read()).decode()
    for event in ("registered", "login_succeeded", "login_refused", "password_changed", "session_ended"):
        assert f'"{event}"' in logged
    for secret in (
        PASSWORD,
        NEW,
        "a wrong password",
        token,
        token.split(".")[2],
        ada,
        "@example.com",
        "84912000001",
    ):
        assert secret not in logged


async def test_in_production_nothing_is_told_that_need_not_be(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path, EARLYBIRD_PUBLIC_DOCS="false") as door:
        for path in ("/docs", "/openapi/identity.json", "/openapi/promotions.json", "/readyz", "/healthz"):
            assert (await door.http.get(path)).status_code == 404
        plain = await door.http.get("/account")
        behind_tls = await door.http.get("/account", headers={"X-Forwarded-Proto": "https"})
        assert plain.headers["cache-control"] == behind_tls.headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in plain.headers
        assert behind_tls.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert "server" not in plain.headers
