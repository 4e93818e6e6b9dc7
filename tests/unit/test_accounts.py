"""The rules of an account."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.identity.accounts.model import (
    check_birthday,
    login_key,
    normalise_email,
    normalise_full_name,
    normalise_password,
    normalise_phone,
    normalise_username,
    parse_birthday,
)


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


@given(st.text(max_size=40))
def test_normalising_a_username_twice_changes_nothing_more(text: str) -> None:
    try:
        once = normalise_username(text)
    except ValueError:
        return
    assert normalise_username(once) == once


def test_an_email_address_has_one_form() -> None:
    assert normalise_email("Ada@Example.COM") == normalise_email("ada@example.com") == "ada@example.com"


@pytest.mark.parametrize("written", ["ada", "ada@", "@example.com", "a b@example.com", "secret-value@nowhere"])
def test_a_refused_email_address_is_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="not a valid e-mail address") as refusal:
        normalise_email(written)
    assert written not in str(refusal.value)


@pytest.mark.parametrize("written", ["+84 912 345 678", "+84912345678", "+84-912-345-678", "+84 (912) 345678"])
def test_a_phone_number_has_one_form(written: str) -> None:
    assert normalise_phone(written) == "+84912345678"


@pytest.mark.parametrize("written", ["0912345678", "+84", "+999 123 456", "phone", "+1 555 01", ""])
def test_a_phone_number_that_cannot_be_dialled_from_abroad_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="international form"):
        normalise_phone(written)


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert normalise_password("caf\u00e9") == normalise_password("cafe\u0301")


def test_a_full_name_loses_surplus_space_and_keeps_its_letters() -> None:
    assert normalise_full_name("  Nguyễn   Văn\tA ") == "Nguyễn Văn A"


@pytest.mark.parametrize("written", ["", "   ", "a\x00b", "a\x1bb"])
def test_an_empty_or_unprintable_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="give a name"):
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
    ("typed", "key"),
    [
        ("ADA", ("username", "ada")),
        ("Ada@Example.com", ("email", "ada@example.com")),
        ("+84 912 345 678", ("phone", "+84912345678")),
        ("84912345678", ("username", "84912345678")),
        ("not a login!", None),
        ("@", None),
        ("+1", None),
    ],
)
def test_people_log_in_by_username_email_or_phone(typed: str, key: tuple[str, str] | None) -> None:
    assert login_key(typed) == key
