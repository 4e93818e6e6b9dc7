"""What people are told when they are refused: each sentence once, as it is sent."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError
from refusals import refused_with
from structlog.testing import capture_logs

from earlybird.access.jwks import usable_keys
from earlybird.errors import MissingToken, Unavailable, account_disabled, forbidden
from earlybird.events import STREAM, FirstLogin, MalformedEvent
from earlybird.identity.accounts import model as accounts
from earlybird.infra.http.refusals import body_too_large, explain, printable, refused
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.rules import Moment, closed, created, edited, opened
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.redemptions.model import Order, RedemptionEvent, begun, choose_voucher, settled
from earlybird.promotions.shapes import Currency
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRAFT = Campaign(UUID(int=1), "Launch", 30, 100, "30 % off", 30, None, None, None)
MOMENT = Moment(NOW, next_n=41, others=())
OPEN = opened(DRAFT, MOMENT)
CLOSED = closed(OPEN, replace(MOMENT, now=NOW + HOUR))
SCHEDULED = created(replace(DRAFT, starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR), MOMENT)
OTHER = replace(OPEN, id=UUID(int=2), name="Spring")
LATER = replace(MOMENT, now=NOW + 2 * HOUR)
VOUCHER = Voucher(UUID(int=1), UUID(int=2), UUID(int=3), 37, 37, "30 % off", 30, NOW + HOUR, "VND", 1000)
ORDER = Order("topup-1", 100_000, "VND")
HELD = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
SPENT = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=False)
CONFIRM, RELEASE, REFUND = RedemptionEvent.CONFIRM, RedemptionEvent.RELEASE, RedemptionEvent.REFUND
RELEASED = settled(HELD, RELEASE, VOUCHER, NOW)
REFUNDED = settled(SPENT, REFUND, VOUCHER, NOW)


def spend(order: Order = ORDER, **terms: Any) -> Callable[[], object]:
    return lambda: begun(UUID(int=9), replace(VOUCHER, **terms), order, NOW, reserve=False)


def choose(**held: Any) -> Callable[[], object]:
    return lambda: choose_voucher([HeldVoucher(VOUCHER, **held)] if held else [], NOW)


def edit(campaign: Campaign, granted: int = 0, moment: Moment = LATER, **changes: Any) -> Callable[[], object]:
    return lambda: edited(campaign, changes, granted, moment)


REFUSALS: list[tuple[Callable[[], object], str, str]] = [
    (choose(), "voucher_not_found", "You have no voucher that can be used."),
    (
        choose(is_available=True, held_until=NOW + HOUR),
        "voucher_reserved",
        "Your voucher is held for another payment that is still running.",
    ),
    (choose(is_available=False), "voucher_already_redeemed", "Your voucher is spent."),
    (
        lambda: choose_voucher([HeldVoucher(replace(VOUCHER, expire_at=NOW), is_available=True)], NOW),
        "voucher_expired",
        "Your voucher has expired.",
    ),
    (
        spend(replace(ORDER, currency="EUR")),
        "currency_not_accepted",
        "currency: your voucher is for purchases in VND.",
    ),
    (
        spend(replace(ORDER, amount=999)),
        "amount_too_small",
        "amount: your voucher is for purchases of 1000 and more.",
    ),
    (
        spend(replace(ORDER, amount=1), min_amount=None),
        "amount_too_small",
        "amount: your voucher takes nothing off so small a purchase.",
    ),
    (
        lambda: settled(HELD, CONFIRM, VOUCHER, NOW + HOUR),
        "reservation_expired",
        "This reservation's time is over; the voucher was given back.",
    ),
    (
        lambda: settled(RELEASED, CONFIRM, VOUCHER, NOW),
        "reservation_released",
        "This reservation was released; the voucher was given back.",
    ),
    (lambda: settled(REFUNDED, CONFIRM, VOUCHER, NOW), "redemption_refunded", "This redemption was refunded."),
    (
        lambda: settled(SPENT, RELEASE, VOUCHER, NOW),
        "reservation_confirmed",
        "This reservation was confirmed; refund the redemption instead.",
    ),
    (
        lambda: settled(HELD, REFUND, VOUCHER, NOW),
        "redemption_not_found",
        "There is no such redemption; a reservation can be released.",
    ),
    (lambda: opened(CLOSED, LATER), "campaign_closed", "This campaign has ended. Create another."),
    (
        lambda: closed(DRAFT, LATER),
        "campaign_not_open",
        "This campaign was never opened, so there is nothing to close.",
    ),
    (
        edit(OPEN, 1, discount=31),
        "field_in_use",
        "discount: vouchers were granted on these terms. Open another campaign.",
    ),
    (edit(CLOSED, ends_at=NOW + 9 * HOUR), "campaign_closed", "ends_at: this campaign has ended."),
    (edit(OPEN, starts_at=NOW + 9 * HOUR), "field_in_use", "starts_at: this campaign has started."),
    (
        edit(OPEN, 10, number_of_promotion=9),
        "number_below_granted",
        "number_of_promotion: 10 vouchers are granted already.",
    ),
    (edit(DRAFT, min_amount=1), "invalid_field", "min_amount: an amount needs a currency."),
    (edit(DRAFT, max_discount_amount=1), "invalid_field", "max_discount_amount: an amount needs a currency."),
    (
        edit(replace(DRAFT, currency="VND", min_amount=1), currency=None),
        "invalid_field",
        "min_amount: an amount needs a currency.",
    ),
    (
        edit(SCHEDULED, moment=MOMENT, ends_at=NOW + HOUR),
        "invalid_field",
        "ends_at: this is not after the start.",
    ),
    (
        edit(SCHEDULED, moment=MOMENT, starts_at=NOW + 3 * HOUR),
        "invalid_field",
        "ends_at: this is not after the start.",
    ),
    (edit(OPEN, ends_at=NOW + 2 * HOUR), "invalid_field", "ends_at: this is in the past."),
    (lambda: opened(replace(DRAFT, ends_at=NOW), MOMENT), "invalid_field", "ends_at: this is in the past."),
    (
        lambda: created(replace(DRAFT, starts_at=NOW), MOMENT),
        "invalid_field",
        "starts_at: this is in the past; leave it out, and open the campaign.",
    ),
    (
        lambda: opened(DRAFT, replace(MOMENT, others=(OTHER,))),
        "campaign_already_open",
        "A campaign is open already: close it first.",
    ),
    (
        lambda: created(replace(DRAFT, starts_at=NOW + HOUR), replace(MOMENT, others=(OTHER,))),
        "campaign_overlaps",
        "The campaign would run at the same time as “Spring”: let one end before the other starts.",
    ),
    (
        edit(
            replace(OPEN, ends_at=NOW + 3 * HOUR),
            moment=replace(LATER, others=(replace(OTHER, starts_at=NOW + 4 * HOUR),)),
            ends_at=NOW + 5 * HOUR,
        ),
        "campaign_overlaps",
        "The campaign would run at the same time as “Spring”: let one end before the other starts.",
    ),
]


NAMES = [f"{code}-{i}" for i, (_, code, _) in enumerate(REFUSALS)]


@pytest.mark.parametrize(("act", "code", "message"), REFUSALS, ids=NAMES)
def test_a_refusal_says_what_is_in_the_way(act: Callable[[], object], code: str, message: str) -> None:
    assert refused_with(act) == (code, message)


@pytest.mark.parametrize(
    ("make", "code", "message", "headers"),
    [
        (lambda: forbidden("campaign_manager"), "forbidden", "This needs the role campaign_manager.", {}),
        (account_disabled, "account_disabled", "This account is disabled. Please contact us.", {}),
        (
            MissingToken,
            "missing_token",
            "Send the header `Authorization: Bearer <token>` with a token from /login.",
            {"WWW-Authenticate": "Bearer"},
        ),
        (lambda: Unavailable("away", retry_after_seconds=7), "unavailable", "away", {"Retry-After": "7"}),
        (body_too_large, "body_too_large", "The body is over 16 KiB.", {}),
    ],
)
def test_a_refusal_that_many_share_is_always_the_same(
    make: Callable[[], Any], code: str, message: str, headers: dict[str, str]
) -> None:
    refusal = make()
    assert (refusal.code, refusal.message, refusal.headers) == (code, message, headers)


@pytest.mark.parametrize(
    ("normalise", "typed", "message"),
    [
        (accounts.normalise_username, "a", "use 3 to 32 of the letters a-z, digits, dot, underscore and hyphen"),
        (accounts.new_username, "123", "use at least one letter a-z"),
        (accounts.normalise_email, "ada", "this is not a valid e-mail address"),
        (
            lambda text: accounts.normalise_phone(text, "VN"),
            "1",
            "give a valid phone number, such as +84 912 345 678",
        ),
        (accounts.normalise_password, "x" * 129, "use 1 to 128 characters"),
        (accounts.normalise_full_name, "\u202e", "leave out control characters and invisible characters"),
        (accounts.parse_birthday, "soon", "give an ISO 8601 date, such as 1990-12-31"),
        (
            lambda _: accounts.check_birthday(date(1800, 1, 1), date(2026, 1, 1)),
            "",
            "this is no birthday of a living person",
        ),
        (
            lambda role: accounts.with_role([], role),
            "king",
            "there is no role 'king'; there are customer, campaign_manager, support",
        ),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value) if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_with_what_would_be_right(
    normalise: Callable[[str], object], typed: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        normalise(typed)


def test_a_currency_that_there_is_not_is_refused_with_one_that_there_is() -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(Currency).validate_python("XXX")
    assert refusal.value.errors()[0]["msg"] == "Value error, give an ISO 4217 code, such as VND"


def problem(kind: str, *loc: str | int, message: str = "", **context: Any) -> dict[str, Any]:
    return {"type": kind, "loc": loc, "msg": message, "ctx": context}


JSON_TYPE, NOT_JSON = "application/json", "Send the body with `Content-Type: application/json`."
NOT_OBJECT, NOT_REPEATED = "The body must be a JSON object.", "(a name we do not repeat): there is no such field."
PROBLEMS: list[tuple[dict[str, Any], str, str, str]] = [
    (
        problem("json_invalid", "body", 17, error="Expecting value"),
        JSON_TYPE,
        "malformed_json",
        "The body is not JSON: see byte 17.",
    ),
    (
        problem("json_invalid", "body", -1, error="The body has the field a twice"),
        JSON_TYPE,
        "malformed_json",
        "The body has the field a twice.",
    ),
    (problem("missing", "body"), "text/plain", "malformed_json", NOT_OBJECT),
    (problem("dict_type", "body"), "a/json", "unsupported_media_type", NOT_JSON),
    (problem("dict_type", "body"), "application/json;a=b/c", "malformed_json", NOT_OBJECT),
    (problem("dict_type", "body"), "application/a+json", "malformed_json", NOT_OBJECT),
    (problem("missing", "header", "X"), "", "missing_header", "X: this header is missing."),
    (problem("int_type", "header", "X", message="Bad"), "", "invalid_header", "X: bad."),
    (problem("extra_forbidden", "body", "a", "b"), "", "unknown_field", NOT_REPEATED),
    (problem("extra_forbidden", "body", "ab"), "", "unknown_field", "ab: there is no such field."),
    (problem("missing", "body", "a", "b"), "", "missing_field", "a.b: this field is missing."),
    (problem("int_type", "body", "a", message="Value error, Be kind"), "", "invalid_field", "a: be kind."),
    (
        problem("string_too_short", "body", "a", min_length=3),
        "",
        "invalid_field",
        "a: use 3 characters or more.",
    ),
    (problem("string_too_long", "body", "a", max_length=9), "", "invalid_field", "a: use 9 characters at most."),
    (
        problem("string_pattern_mismatch", "body", "a"),
        "",
        "invalid_field",
        "a: use visible ASCII characters only, without spaces.",
    ),
    ({"type": "int_type", "loc": ("body", "a"), "msg": "Bad"}, "", "invalid_field", "a: bad."),
]


@pytest.mark.parametrize(("of", "content_type", "code", "message"), PROBLEMS)
def test_what_is_wrong_with_a_request_is_said_in_our_words(
    of: dict[str, Any], content_type: str, code: str, message: str
) -> None:
    refusal = explain(of, content_type)
    assert (refusal.code, refusal.message) == (code, message)


@pytest.mark.parametrize(
    ("name", "said"),
    [("a" * 40, "a" * 40), ("a" * 41, "(a name we do not repeat)"), ("<b>", "(a name we do not repeat)")],
)
def test_only_what_can_be_a_name_is_repeated(name: str, said: str) -> None:
    assert printable(name) == said


def test_a_described_refusal_has_its_model_and_its_description() -> None:
    assert set(refused("no")) == {"model", "description"}
    assert refused("no")["description"] == "no"


@pytest.mark.parametrize(("numbers", "said"), [([4, 6], "after 4 came 6"), ([5], "after 3 came 5")])
def test_a_gap_is_named_by_its_neighbours(numbers: list[int], said: str) -> None:
    with pytest.raises(Gap) as gap:
        next_in_order(3, [FirstLogin(n, UUID(int=n), NOW) for n in numbers])
    assert str(gap.value) == said


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"type":"x"}', "the event's type is not earlybird.identity.first_login.v1"),
        (b"{}", "not a first-login event: KeyError"),
        (b"[]", "not a first-login event: TypeError"),
        (b"no", "not a first-login event: JSONDecodeError"),
        (
            b'{"type":"earlybird.identity.first_login.v1","subject":5,'
            b'"data":{"n":1,"first_login_at":"2026-11-01T00:00:00+00:00"}}',
            "not a first-login event: AttributeError",
        ),
    ],
)
def test_a_message_that_is_no_first_login_is_told_by_its_kind(payload: bytes, said: str) -> None:
    with pytest.raises(MalformedEvent) as error:
        FirstLogin.from_json(payload)
    assert said in (str(error.value), str(error.value.__cause__))
    assert STREAM == "first-logins"


@pytest.mark.parametrize(
    ("entry", "kid"), [({"kid": "x" * 65}, "x" * 64), ({"kid": 7}, "7"), ({}, "None"), ([], None), (None, None)]
)
def test_a_key_that_is_left_out_is_logged_by_its_id(entry: object, kid: str | None) -> None:
    with capture_logs() as logs:
        assert usable_keys({"keys": [entry]}) == {}
    assert logs == [{"event": "jwks_entry_left_out", "log_level": "warning", "kid": kid}]
