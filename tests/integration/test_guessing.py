"""Guessing is held: per account, per known device, per source address; and its owner is not locked out."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest
from front_door import PASSWORD, Door, cookie_of, front_door
from people import registration
from redis.asyncio import Redis

from earlybird.identity import DATABASE
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.throttle.model import (
    DEVICE_FAILURES,
    FREE_FAILURES,
    LOCKED_AFTER,
    Bucket,
    strangers,
    wait_seconds,
)
from earlybird.infra.mongo import Client
from earlybird.settings import Settings

HERE, THERE = "203.0.113.7", "198.51.100.9"


async def known_on_a_device(door: Door) -> tuple[str, str]:
    """Make an account and log in; return its user name and the device's cookie."""
    ada = await door.register(1)
    return ada, cookie_of(await door.log_in(ada))


async def guess(door: Door, username: str, times: int, at: str | None = None, cookie: str = "") -> Counter[int]:
    """Guess wrongly, all at once; count the statuses."""
    answers = await asyncio.gather(*(door.log_in(username, f"wrong {i}", at, cookie) for i in range(times)))
    assert {answer.json()["code"] for answer in answers} <= {"invalid_credentials", "too_many_attempts"}
    return Counter(answer.status_code for answer in answers)


async def guess_many(door: Door, valkey: Redis, username: str, times: int, bucket: Bucket) -> None:
    """Guess wrongly, all at once: every guess that is answered is counted, and all others are refused.

    On a slow machine the first wait, of one second, may be over before the last guess comes.
    """
    counted = await guess(door, username, times)
    assert set(counted) == {400, 429}
    assert FREE_FAILURES <= counted[400] <= FREE_FAILURES + 2
    assert await valkey.hget(bucket.key, "failures") == str(counted[400]).encode()


async def test_parallel_guesses_are_counted_or_refused_and_the_owners_device_is_let_in(
    mongo: Client, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada, cookie = await known_on_a_device(door)
        [user] = await mongo[DATABASE]["users"].find({"username": ada}).to_list()
        await guess_many(door, valkey, ada, 100, strangers(user["_id"], ""))
        await valkey.hset(strangers(user["_id"], "").key, "next", (int(time.time()) + 60) * 1000)
        refused = await door.log_in(ada)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"] == f'"guesses";r=0;t={refused.headers["retry-after"]}'
        owner = await door.log_in(ada, cookie=cookie)
        assert owner.status_code == 200, "a stranger does not keep the owner out"
        assert "set-cookie" not in owner.headers, "the device is known"
        await guess_many(door, valkey, "nobody-at-all", 20, strangers(None, "nobody-at-all"))


async def test_after_a_hundred_failures_an_administrator_is_needed_but_on_a_known_device(
    mongo: Client, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada, cookie = await known_on_a_device(door)
        [user] = await mongo[DATABASE]["users"].find({"username": ada}).to_list()
        bucket = strangers(user["_id"], "")
        await valkey.hset(bucket.key, mapping={"failures": LOCKED_AFTER - 1, "next": 0})
        wrong = await door.log_in(ada, "wrong")
        await valkey.delete(bucket.key)
        right = await door.log_in(ada)
        assert (wrong.status_code, wrong.content) == (right.status_code, right.content), "locked looks like wrong"
        assert (await door.log_in(ada, cookie=cookie)).status_code == 200
        await AccountStore(mongo[DATABASE], "VN").unlock(ada, "test")
        await valkey.delete(bucket.key)
        assert (await door.log_in(ada)).status_code == 200
        actions = [entry["action"] async for entry in mongo[DATABASE]["audit_log"].find().sort("order")]
        assert actions == ["account.locked", "account.unlocked"]


async def test_a_device_that_fails_too_often_is_a_stranger_again(
    mongo: Client, valkey: Redis, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada, cookie = await known_on_a_device(door)
        await guess(door, ada, 100)  # strangers have to wait from now on
        [key] = [key async for key in valkey.scan_iter("guesses:*:*")] or [None]
        assert key is None, "the device has not failed"
        assert (await guess(door, ada, DEVICE_FAILURES + 5, cookie=cookie))[400] <= DEVICE_FAILURES + 1
        [key] = [key async for key in valkey.scan_iter("guesses:*:*")]
        await valkey.hset(key, mapping={"failures": DEVICE_FAILURES, "next": 0})
        assert (await door.log_in(ada, cookie=cookie)).status_code == 429


async def test_a_source_that_fails_too_often_waits_and_others_do_not(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    limits = {"EARLYBIRD_SOURCE_FAILED_LOGINS": "5", "EARLYBIRD_SOURCE_REGISTRATIONS": "3"}
    async with front_door(settings, tmp_path, **limits) as door:
        people = [await door.register(i) for i in range(4)]  # loopback is not counted
        for username in people * 3:
            assert (await door.log_in(username, at=HERE)).status_code == 200, "success is not counted"
        failed = [await door.log_in(f"nobody-{i}", "wrong", HERE) for i in range(6)]
        assert [answer.status_code for answer in failed] == [400] * 5 + [429]
        assert failed[-1].headers["ratelimit-policy"] == '"failed-logins";q=5'
        assert 1 <= int(failed[-1].headers["retry-after"]) <= 600
        assert (await door.log_in(people[0], at=HERE)).status_code == 429
        for elsewhere in (THERE, None, f"{HERE}, {THERE}"):
            assert (await door.log_in(people[0], at=elsewhere)).status_code == 200
        made = [await door.post("/register", registration(10 + i), HERE) for i in range(4)]
        assert [answer.status_code for answer in made] == [200] * 3 + [429]
        assert made[-1].json()["code"] == "too_many_attempts"


async def test_without_valkey_each_process_counts_by_itself(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    changes = {"EARLYBIRD_VALKEY_URL": "redis://127.0.0.1:1/0", "EARLYBIRD_SOURCE_FAILED_LOGINS": "12"}
    async with front_door(settings, tmp_path, **changes) as door:
        ada = await door.register(1)
        assert (await door.log_in(ada, at=HERE)).status_code == 200
        assert FREE_FAILURES <= (await guess(door, ada, 50))[400] <= FREE_FAILURES + 2
        failed = [(await door.log_in(f"nobody-{i}", "wrong", HERE)).status_code for i in range(13)]
        assert failed == [400] * 12 + [429]


@pytest.mark.parametrize("failures", [*range(1, 25), LOCKED_AFTER])
async def test_valkey_waits_as_the_model_says(valkey: Redis, failures: int) -> None:
    from limits import RateLimitItemPerSecond

    from earlybird.identity.throttle.guesses import Throttle

    throttle = Throttle(valkey, RateLimitItemPerSecond(1), RateLimitItemPerSecond(1))
    bucket = strangers(None, "somebody")
    await valkey.hset(bucket.key, mapping={"failures": failures - 1, "next": 0})
    assert await throttle.count_guess(bucket, None) == failures
    seconds, microseconds = await valkey.time()
    next_at = float(await valkey.hget(bucket.key, "next") or 0)
    wait = next_at / 1000 - seconds - microseconds / 1e6
    assert wait_seconds(failures) - 1 < wait <= wait_seconds(failures) or wait_seconds(failures) == 0
    await throttle.forget(bucket, None)
    assert await valkey.exists(bucket.key) == 0


async def test_a_right_guess_that_valkey_did_not_hear_of_is_taken_back_before_the_next_is_counted(
    valkey: Redis,
) -> None:
    from limits import RateLimitItemPerSecond

    from earlybird.identity.sessions.store import Session, SessionStore
    from earlybird.identity.throttle.guesses import Throttle

    throttle = Throttle(valkey, RateLimitItemPerSecond(1), RateLimitItemPerSecond(1))
    somebody, bucket = uuid4(), strangers(None, "somebody")
    for _ in range(2):
        assert await throttle.count_guess(bucket, None) == 1
        await valkey.client_pause(60_000, all=False)
        session = Session("an id", 0, "a device", "a network", time.time())
        await SessionStore(valkey, throttle).begin(somebody, session, bucket, None)
        await valkey.client_unpause()


async def test_passwords_are_hashed_with_the_parameters_of_now_at_the_next_login(
    mongo: Client, settings: Settings, tmp_path: Path
) -> None:
    async with front_door(settings, tmp_path) as door:
        ada = await door.register(1)
    async with front_door(settings, tmp_path, EARLYBIRD_PASSWORD_ITERATIONS="2") as door:
        for _ in range(2):
            assert (await door.log_in(ada, PASSWORD)).status_code == 200
            [user] = await mongo[DATABASE]["users"].find({}).to_list()
            assert "t=2" in user["password"]
