"""How long a guess waits, and whose guesses are counted together."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.identity.throttle.devices import Devices
from earlybird.identity.throttle.model import (
    FREE_FAILURES,
    LOCKED_AFTER,
    LONGEST_WAIT_SECONDS,
    Bucket,
    device,
    source,
    strangers,
    too_many,
    wait_seconds,
)

ADA, BOB = UUID(int=1), UUID(int=2)


def test_waits_grow_from_nothing_to_a_quarter_of_an_hour() -> None:
    waits = [wait_seconds(failures) for failures in range(LOCKED_AFTER + 1)]
    assert waits[:FREE_FAILURES] == [0] * FREE_FAILURES
    assert waits[FREE_FAILURES : FREE_FAILURES + 4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_SECONDS == 900


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        *(
            (ours, None)
            for ours in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "", "unknown", "1.2.3", None)
        ),
    ],
    ids=lambda address: str(address).replace(":", "."),  # a test's id cannot hold `::`
)
def test_a_source_is_an_address_or_a_customers_ipv6_network(address: str | None, counted_as: str | None) -> None:
    assert source(address) == counted_as


@given(st.text(max_size=60))
def test_whatever_an_address_says_it_is_counted_or_not(address: str) -> None:
    counted = source(address)
    assert counted is None or source(counted.partition("/")[0]) == counted


def test_guesses_are_counted_by_account_and_by_known_device() -> None:
    assert strangers(ADA, "ada") == strangers(ADA, "ada@example.com")
    assert strangers(None, "Nobody") == strangers(None, "nobody")
    keys = {strangers(ADA, "").key, strangers(BOB, "").key, strangers(None, "x").key, device(ADA, "1").key}
    assert len(keys) == 4
    assert device(ADA, "1") == Bucket(f"guesses:{ADA}:1", is_device=True)
    assert not strangers(ADA, "").is_device
    assert "nobody" not in strangers(None, "nobody").key, "what was typed may be a password"


@given(st.text(alphabet=st.characters(), max_size=60))
def test_whatever_is_typed_is_counted(login: str) -> None:
    assert strangers(None, login) == strangers(None, login)


def test_a_refusal_says_when_to_come_again() -> None:
    refusal = too_many("guesses", 10, 3.2)
    assert refusal.status == 429
    assert refusal.message == "Too many attempts. Try again in 4 s."
    assert refusal.headers == {
        "Retry-After": "4",
        "RateLimit": '"guesses";r=0;t=4',
        "RateLimit-Policy": '"guesses";q=10',
    }
    assert too_many("guesses", 10, 0.01).headers["Retry-After"] == "1"


def test_a_devices_cookie_is_good_for_its_account_alone() -> None:
    devices = Devices(b"s" * 32)
    cookie = devices.issue(ADA)
    found = devices.find(cookie, ADA)
    assert found is not None
    assert devices.find(devices.issue(ADA), ADA) not in {None, found}
    for other in (None, "", "x", cookie[:-2], "x" * 2000, Devices(b"t" * 32).issue(ADA)):
        assert devices.find(other, ADA) is None
    assert devices.find(cookie, BOB) is None
