"""When the client sends a call again, and when it must not."""

import json
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from earlybird.client import api
from earlybird.client.calls import Answer, Call, Refused, Unavailable
from earlybird.client.retries import Retries, may_repeat_after
from earlybird.errors import HTTP_STATUS

CHANCES = st.floats(0, 1)
PURCHASE = api.Purchase("topup-1", 100_000, "VND")


def refused(status: int, code: str, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"status": "error", "code": code, "message": "No."}).encode())


@given(
    st.integers(1, 8), st.floats(0, 60), st.lists(st.tuples(st.none() | st.integers(0, 99), CHANCES), max_size=30)
)
def test_tries_and_time_are_bounded_whatever_the_service_asks_for(
    tries: int, seconds: float, asked: list[tuple[int | None, float]]
) -> None:
    retries, gone, made = Retries(tries=tries, seconds=seconds), 0.0, 0
    for asked_for, chance in asked:
        made += 1
        pause = retries.pause(made, gone, asked_for, chance)
        if pause is None:
            break
        assert pause >= (asked_for or 0)
        gone += pause
    assert made <= tries
    assert gone <= seconds


@given(st.integers(1, 5), CHANCES)
def test_the_pause_grows_up_to_its_limit_and_is_spread_over_all_of_it(made: int, chance: float) -> None:
    retries = Retries(tries=9, first_pause_seconds=0.1, longest_pause_seconds=0.5)
    assert retries.pause(made, 0, None, chance) == min(0.5, 0.1 * 2 ** (made - 1)) * chance


@given(st.floats(0.01, 5), CHANCES)
def test_whoever_is_asked_to_wait_waits_up_to_half_as_long_again_and_within_the_time(
    asked_for: float, chance: float
) -> None:
    wanted = asked_for * (1 + chance / 2)
    assert Retries(seconds=wanted).pause(1, 0, asked_for, chance) == wanted
    assert Retries(seconds=wanted * 0.99).pause(1, 0, asked_for, chance) is None


def test_without_a_word_a_call_is_tried_six_times_within_ten_seconds() -> None:
    assert Retries().pause(5, 0, None, 0) == 0
    assert Retries().pause(6, 0, None, 0) is None
    assert Retries().pause(1, 10, None, 0) == 0
    assert Retries().pause(1, 10.1, None, 0) is None


def test_what_may_not_be_done_twice_is_sent_again_only_if_nothing_was_done() -> None:
    for code, status in HTTP_STATUS.items():
        answer = refused(status, code)
        assert may_repeat_after(answer, is_repeatable=False) == (code == "overloaded")
        assert may_repeat_after(answer, is_repeatable=True) == (
            code in {"overloaded", "unavailable", "request_in_flight"}
        )
    for status in range(200, 600):  # what stands in front of the service says, in no words of ours
        assert may_repeat_after(Answer(status, {}, b"<html>"), is_repeatable=True) == (status in {502, 503, 504})
        assert not may_repeat_after(Answer(status, {}, b"<html>"), is_repeatable=False)


def test_an_account_a_code_and_a_password_are_not_asked_for_twice_and_a_purchase_is_under_one_key() -> None:
    once: list[Call[Any]] = [
        api.register(username="ada", email="a@example.com", phone="+1", password="p", full_name="A", birthday="b"),
        api.request_code("ada@example.com"),
        api.confirm_contact("ada", "ada@example.com", "123456"),
        api.change_password("one", "two"),
        api.create_campaign(name="Launch", discount=30, number_of_promotion=100),
    ]
    assert not any(call.is_repeatable for call in once)
    first, second = api.redeem(PURCHASE), api.redeem(PURCHASE)
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert first.is_repeatable
    assert api.reserve(PURCHASE, "mine").headers["Idempotency-Key"] == "mine"
    assert api.confirm(uuid4()).is_repeatable


def outcome(call: Call[object], answer: Answer) -> object:
    try:
        return call.result(answer)
    except (Refused, Unavailable) as error:
        return error


def test_a_refusal_keeps_its_code_and_what_is_no_answer_of_ours_says_so() -> None:
    call: Call[object] = api.place()  # type: ignore[assignment]
    throttled = outcome(call, refused(429, "too_many_attempts", **{"retry-after": "7"}))
    assert isinstance(throttled, Refused)
    assert (throttled.code, throttled.status, throttled.retry_after_seconds) == ("too_many_attempts", 429, 7)
    busy = outcome(call, refused(503, "overloaded", **{"retry-after": "3"}))
    assert isinstance(busy, Unavailable)
    assert busy.retry_after_seconds == 3
    for strange in (
        Answer(200, {}, b"<html>"),
        Answer(200, {}, b"{}"),
        Answer(404, {}, b"[]"),
        Answer(200, {}, b""),
    ):
        assert isinstance(outcome(call, strange), Unavailable)


def test_fields_that_a_newer_service_adds_are_no_error() -> None:
    content = json.dumps(
        {
            "status": "success",
            "new": 1,
            "voucher": {"description": "d", "discount": 30, "expire_at": "2026-12-01T00:00:00Z", "new": [1]},
        }
    )
    assert api.voucher().result(Answer(200, {}, content.encode())).discount == 30
