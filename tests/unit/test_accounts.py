"""The rules of an account."""

import unicodedata
from collections.abc import Callable
from datetime import date
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earlybird.identity.accounts.model import (
    check_birthday,
    login_keys,
    new_username,
    normalise_email,
    normalise_full_name,
    normalise_password,
    normalise_phone,
    normalise_username,
    parse_birthday,
)
from earlybird.text import one_line

PHONE = partial(normalise_phone, country="VN")


@pytest.mark.parametrize(
    ("written", "kept"),
    [("Ada.Lovelace", "ada.lovelace"), ("ＡＤＡ", "ada"), ("a_b-c.9", "a_b-c.9"), ("x" * 32, "x" * 32)],
)
def test_a_username_has_one_form(written: str, kept: str) -> None:
    assert normalise_username(written) == kept


@pytest.mark.parametrize(
    "written", ["ab", "x" * 33, "a b c", "ada!", "ædå", "ada@x", "+84912345678", "a\u0000da", ""]
)
def test_what_is_no_username_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="3 to 32"):
        normalise_username(written)


# Text of all kinds, and text that is nearly what each field takes: a property over random text alone finds little.
LETTERS = st.text(st.characters(codec="utf-8"), max_size=12)
ADDRESSES = st.builds(
    "{}@{}.{}".format, LETTERS, st.sampled_from(["example", "EXAMPLE", "bücher"]), st.just("com")
)
NUMBERS = st.from_regex(r"[(]?\+?[0-9(]{1,4}[ )./-]{0,2}[0-9 .-]{5,12}", fullmatch=True)
TYPED = st.one_of(st.text(max_size=40), LETTERS, ADDRESSES, NUMBERS)
NORMALISERS: list[Callable[[str], str]] = [
    normalise_username,
    new_username,
    normalise_email,
    partial(normalise_phone, country="VN"),
    partial(normalise_phone, country="US"),
    normalise_password,
    normalise_full_name,
    partial(one_line, most=100),
]


@pytest.mark.parametrize("normalise", NORMALISERS)
@given(typed=TYPED)
@example(typed="J\u030c1@example.com")  # composes once it is lower case
@example(typed="\u0958" * 128)  # one letter that NFC makes two of
@example(typed="(+84) 912 269 840")
def test_what_is_normal_stays_as_it_is(normalise: Callable[[str], str], typed: str) -> None:
    try:
        once = normalise(typed)
    except ValueError:
        return
    assert normalise(once) == once


@given(typed=TYPED)
@example(typed="(+84) 912 269 840")
@example(typed="0912 345 678")
def test_whatever_a_field_accepts_its_owner_may_log_in_by(typed: str) -> None:
    for field, normalise in (("username", new_username), ("email", normalise_email), ("phone", PHONE)):
        try:
            kept = normalise(typed)
        except ValueError:
            continue
        assert (field, kept) in login_keys(typed, "VN")
        assert (field, kept) in login_keys(kept, "VN")


@given(typed=TYPED)
def test_no_new_user_name_is_a_phone_number_or_an_email_address(typed: str) -> None:
    try:
        username = new_username(typed)
    except ValueError:
        return
    assert login_keys(typed, "VN") == login_keys(username, "VN") == [("username", username)]


@pytest.mark.parametrize("written", ["0912345678", "1-2.3_4", "..."])
def test_a_new_user_name_has_a_letter(written: str) -> None:
    assert normalise_username(written) == written
    with pytest.raises(ValueError, match="at least one letter"):
        new_username(written)


def test_an_email_address_has_one_form() -> None:
    assert normalise_email("Ada@Example.COM") == normalise_email("ada@example.com") == "ada@example.com"


@pytest.mark.parametrize("written", ["ada", "ada@", "@example.com", "a b@example.com", "secret-value@nowhere"])
def test_a_refused_email_address_is_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="not a valid e-mail address") as refusal:
        normalise_email(written)
    assert written not in str(refusal.value)


def test_two_spellings_that_look_alike_are_one_address() -> None:
    assert normalise_email("J\u030c1@example.com") == normalise_email("\u01f01@example.com")


@pytest.mark.parametrize(
    ("local", "fits"), [("a" * 64, True), ("a" * 65, False), ("ä" * 32, True), ("ä" * 33, False)]
)
def test_the_local_part_has_64_octets_at_most(local: str, fits: bool) -> None:
    domain = ".".join(["b" * 60] * 3)
    if fits:
        assert normalise_email(f"{local}@example.com") == f"{local}@example.com"
        assert len(normalise_email(f"{local}@{domain}.com").encode()) == 64 + 1 + 182 + 4
    else:
        with pytest.raises(ValueError, match="not a valid e-mail address"):
            normalise_email(f"{local}@example.com")


def test_an_address_has_254_octets_at_most() -> None:
    domain = ".".join(["b" * 61] * 3)  # 185 octets
    assert len(normalise_email("a" * 64 + f"@{domain}.com").encode()) == 254
    with pytest.raises(ValueError, match="not a valid e-mail address"):
        normalise_email("a" * 64 + f"@{domain}.info")


@pytest.mark.parametrize(
    "written",
    [
        "+84 912 345 678",
        "+84912345678",
        "+84-912-345-678",
        "+84 (912) 345678",
        "(+84) 912 345 678",
        "0912 345 678",
        "0912.345.678",
        "\uff0b84 912 345 678",
    ],
)
def test_a_phone_number_has_one_form(written: str) -> None:
    assert PHONE(written) == "+84912345678"


def test_a_number_without_a_country_is_one_of_the_deployments_country() -> None:
    assert normalise_phone("(201) 555-0123", "US") == "+12015550123"
    assert normalise_phone("0912 345 678", "VN") == "+84912345678"
    with pytest.raises(ValueError, match="valid phone number"):
        normalise_phone("0912 345 678", "US")


@pytest.mark.parametrize(
    "written",
    [
        "+84",
        "+999 123 456",
        "phone",
        "+1 555 01",
        "",
        "call me +84 912 345 678",
        "+84 912 345 678 x5",
        "1-800-FLOWERS",
    ],
)
def test_what_is_no_phone_number_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="valid phone number"):
        PHONE(written)


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert normalise_password("caf\u00e9") == normalise_password("cafe\u0301")


@pytest.mark.parametrize("typed", ["e\u0301" * 8, "é" * 8, "é" * 128, "e\u0301" * 128])
def test_a_password_is_as_long_as_its_normal_form(typed: str) -> None:
    assert normalise_password(typed) == "é" * (len(typed) // (2 if "\u0301" in typed else 1))


@pytest.mark.parametrize("typed", ["é" * 129, "\u0958" * 65])
def test_a_password_that_nobody_can_have_is_refused_at_the_login_too(typed: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 128 characters"):
        normalise_password(typed)
    assert normalise_password("short") == "short"


def test_a_full_name_loses_surplus_space_and_keeps_its_letters() -> None:
    assert normalise_full_name("  Nguyễn   Văn\tA ") == "Nguyễn Văn A"
    assert normalise_full_name("x" * 200) == "x" * 200


@pytest.mark.parametrize("name", ["نیلوفر ده\u200cبزرگی", "क्\u200dष", "👨\u200d👩\u200d👧 family"])
def test_a_name_may_join_letters_as_its_script_needs(name: str) -> None:
    assert normalise_full_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "written",
    ["", "   ", "a\x00b", "a\x1bb", "a\u202eb", "a\u200bb", "\u3164", "a\ue000", "\u200d", "a \u200d", "x" * 201],
)
def test_an_empty_invisible_or_endless_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"invisible characters|1 to 200 characters"):
        normalise_full_name(written)


@pytest.mark.parametrize(
    "written",
    ["1990-12-10", "19901210", "1990-12-10T23:30:00", "1990-12-10T23:30:00Z", "1990-12-10T23:30:00-08:00"],
)
def test_a_birthday_may_be_a_date_or_a_datetime(written: str) -> None:
    assert parse_birthday(written) == date(1990, 12, 10)


@pytest.mark.parametrize("written", ["10.12.1990", "1990-13-01", "1990-02-30", "yesterday", "631152000"])
def test_what_is_no_iso_date_is_no_birthday(written: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_birthday(written)


def test_a_birthday_lies_within_a_human_life() -> None:
    today = date(2026, 11, 23)
    assert check_birthday(today, today) == today
    for impossible in (date(2026, 11, 24), date(1875, 1, 1)):
        with pytest.raises(ValueError, match="living person"):
            check_birthday(impossible, today)


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("ADA", [("username", "ada")]),
        ("Ada@Example.com", [("email", "ada@example.com")]),
        ("+84 912 345 678", [("phone", "+84912345678")]),
        ("0912 345 678", [("phone", "+84912345678")]),
        ("0912345678", [("phone", "+84912345678"), ("username", "0912345678")]),
        ("8491234", [("username", "8491234")]),
        ("not a login!", []),
        ("@", []),
        ("+1", []),
    ],
)
def test_people_log_in_by_username_email_or_phone(typed: str, keys: list[tuple[str, str]]) -> None:
    assert login_keys(typed, "VN") == keys
