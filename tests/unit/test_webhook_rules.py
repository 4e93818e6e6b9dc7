"""What is told to whom, when it is tried again, and which addresses may be reached: the decisions without I/O."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from earlybird.errors import Refusal
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.webhooks.model import (
    ATTEMPTS,
    VOUCHERS,
    Endpoint,
    Kind,
    check_address,
    may_reach,
    networks,
    next_attempt,
    secret_of,
)
from earlybird.promotions.webhooks.notices import notices_of

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ENDPOINT = Endpoint(uuid4(), Kind.WEBHOOK, "https://shop.example/", VOUCHERS, "shop", False, None, 1, None, NOW)


@given(
    st.integers(1, ATTEMPTS + 3), st.floats(0, 1), st.one_of(st.none(), st.timedeltas(timedelta(), timedelta(30)))
)
def test_each_attempt_comes_later_until_there_is_none(
    attempts: int, spread: float, asked: timedelta | None
) -> None:
    at = next_attempt(NOW, attempts, asked, spread)
    if attempts >= ATTEMPTS:
        assert at is None
        return
    assert at is not None
    own = next_attempt(NOW, attempts, None, spread)
    assert own is not None
    assert at == max(own, NOW + min(asked or timedelta(), timedelta(days=1)))
    if attempts > 1:
        earlier = next_attempt(NOW, attempts - 1, None, 1)
        assert earlier is not None
        assert own > earlier


def test_what_is_dead_was_tried_for_three_days() -> None:
    whole = timedelta()
    for attempts in range(1, ATTEMPTS):
        at = next_attempt(NOW, attempts, None, 0)
        assert at is not None
        whole += at - NOW
    assert timedelta(days=3) < whole < timedelta(days=4)


@given(st.ip_addresses())
def test_only_the_public_internet_is_reached(address: IPv4Address | IPv6Address) -> None:
    if may_reach(str(address), ()):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),  # noqa: S104
        *(
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
        ),
        *("224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "64:ff9b::7f00:1"),
    ],
)
def test_private_addresses_in_all_their_spellings_are_not_reached(address: str) -> None:
    assert not may_reach(address, ())


@given(st.ip_addresses(network="10.1.0.0/16"))
def test_a_network_that_is_allowed_is_reached_and_no_other(address: IPv4Address) -> None:
    allowed = networks("10.1.0.0/16, fd00::/8")
    assert may_reach(str(address), allowed)
    assert not may_reach(str(ip_address(int(address) + 2**16)), allowed)


@pytest.mark.parametrize(
    "address", ["https://", "https://a b/", "https://u:p@a.example/", "https://a.example/#x", "http://a.example/",
                "https://[::1", "https://a.example:99999/", "file:///etc/passwd", "https://" + "a" * 600, "\u202ehttps://a/"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Refusal):
        check_address(Kind.WEBHOOK, address, ())


def test_secrets_differ_by_key_endpoint_and_number_and_fit_the_standard() -> None:
    one, other = UUID(int=1), UUID(int=2)
    secrets = [secret_of(key, who, n) for key in (b"a" * 32, b"b" * 32) for who in (one, other) for n in (1, 2)]
    assert len(set(secrets)) == len(secrets)
    for secret in secrets:
        Webhook(secret).sign("id", NOW, "body")


def test_the_secret_of_before_signs_for_a_day_and_no_longer() -> None:
    rotated = replace(ENDPOINT, secret_number=2, rotated_at=NOW)
    assert rotated.signing_numbers(NOW + timedelta(hours=23, minutes=59)) == (2, 1)
    assert rotated.signing_numbers(NOW + timedelta(days=1)) == (2,)
    assert ENDPOINT.signing_numbers(NOW) == (1,)


def test_no_log_shows_an_address() -> None:
    assert "shop.example/" not in repr(ENDPOINT)
    assert ENDPOINT.host == "shop.example"
    assert replace(ENDPOINT, kind=Kind.MAIL, address="oncall@bank.example").host == "bank.example"


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_the_news_of_a_campaign_follow_from_how_it_stands(places: int, remaining: int) -> None:
    remaining = min(remaining, places)
    campaign = Campaign(uuid4(), "Launch", 30, places, "30 % off", 30, 1, NOW - timedelta(hours=1), None)
    told = [event.topic.value for _, event in notices_of(campaign, remaining, NOW)]
    assert ("campaign.sold_out" in told) == (remaining == 0)
    assert ("campaign.nearly_sold_out" in told) == ((places - remaining) >= 0.8 * places)
    assert told[0] == "campaign.opened"
    draft, old = replace(campaign, starts_at=None), replace(campaign, ends_at=NOW - timedelta(days=2))
    assert not list(notices_of(draft, remaining, NOW))
    assert not list(notices_of(replace(old, starts_at=NOW - timedelta(days=3)), remaining, NOW))
