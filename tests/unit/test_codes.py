"""Codes, the limits on them, the languages: what verification decides without I/O."""

import hmac
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.errors import Failure
from earlybird.identity.contacts.model import (
    CODES_PER_DAY,
    CODES_PER_HOUR,
    CONFIRMS_PER_DAY,
    DIGITS,
    SEND_ATTEMPTS,
    TRIES,
    Contact,
    code_digest,
    fits,
    guess_probability,
    make_code,
    next_attempt,
    read_contact,
    required,
)
from earlybird.identity.contacts.senders import check_senders
from earlybird.identity.contacts.texts import choose_language, write
from earlybird.settings import Settings

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
ADA = Contact("email", "ada@example.com")
SECRET, SALT = bytes(range(32)), bytes(16)


def test_a_code_is_six_digits_each_as_likely() -> None:
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return wanted.pop(0)

    wanted = [0, 7, 123, 999_999]
    assert [make_code(draw) for _ in range(4)] == ["000000", "000007", "000123", "999999"]
    assert set(asked) == {10**DIGITS}, "one draw from all codes: no remainder makes some likelier"


def test_a_digest_fits_its_own_code_contact_salt_and_secret_alone() -> None:
    digest = code_digest(SECRET, ADA, SALT, "123456")
    assert fits(digest, SECRET, ADA, SALT, "123456")
    assert not fits(digest, SECRET, ADA, SALT, "123457")
    assert not fits(digest, SECRET, Contact("email", "bob@example.com"), SALT, "123456")
    assert not fits(digest, SECRET, Contact("phone", ADA.address), SALT, "123456")
    assert not fits(digest, SECRET, ADA, bytes([1] * 16), "123456")
    assert not fits(digest, bytes(32), ADA, SALT, "123456")
    assert len(digest) == 32


def test_the_key_of_a_contact_tells_channels_apart_and_needs_the_secret() -> None:
    keys = {
        ADA.key(SECRET),
        ADA.key(bytes(32)),
        Contact("phone", ADA.address).key(SECRET),
        Contact("email", "a").key(SECRET),
    }
    assert len(keys) == 4
    assert "ada" not in ADA.key(SECRET)


def test_what_must_be_confirmed_follows_the_setting() -> None:
    assert [required(one) for one in ("nothing", "email", "phone", "email_and_phone")] == [
        (),
        ("email",),
        ("phone",),
        ("email", "phone"),
    ]


def test_a_contact_is_read_as_registration_keeps_it() -> None:
    assert read_contact("Ada@Example.com", "VN") == ADA
    assert read_contact("0912 345 678", "VN") == Contact("phone", "+84912345678")
    for neither in ("ada", "@", "", "12"):
        with pytest.raises(ValueError, match="valid"):
            read_contact(neither, "VN")


def test_somebody_who_uses_every_try_of_a_day_guesses_a_code_once_in_twenty_thousand_days() -> None:
    """For each contact, and so for each account that waits for it: this bounds what verification is worth."""
    exact = 1 - (1 - Fraction(TRIES, 10**DIGITS)) ** CODES_PER_DAY
    assert guess_probability(CODES_PER_DAY) == pytest.approx(float(exact))
    assert guess_probability(CODES_PER_DAY) == pytest.approx(4.99989e-5, rel=1e-5)
    assert guess_probability(CODES_PER_DAY, 3) == pytest.approx(3e-5, rel=1e-4)
    # A window of the limits may begin in the middle of a day, so a day may touch two: never more than this.
    assert guess_probability(2 * CODES_PER_DAY) < 1e-4
    # The second limit, on confirmations, holds where the codes were asked for by many.
    assert CONFIRMS_PER_DAY <= TRIES * CODES_PER_DAY
    assert CODES_PER_HOUR < CODES_PER_DAY


@pytest.mark.parametrize("digits", [2])
def test_the_formula_is_what_a_guesser_finds(digits: int) -> None:
    """Simulated with two digits, for six would take a hundred million days."""
    draw, days, codes = random.Random(15), 20_000, 3
    hits = sum(
        any(draw.randrange(10**digits) in draw.sample(range(10**digits), TRIES) for _ in range(codes))
        for _ in range(days)
    )
    expected = 1 - (1 - TRIES / 10**digits) ** codes
    assert hits / days == pytest.approx(expected, rel=0.05)
    assert guess_probability(codes, TRIES * 10 ** (DIGITS - digits)) == pytest.approx(expected)


def test_sending_waits_twice_as_long_each_time_and_gives_up() -> None:
    late = NOW + timedelta(hours=1)
    waits = []
    for attempts in range(1, SEND_ATTEMPTS):
        at = next_attempt(NOW, attempts, late)
        assert at is not None
        waits.append(int((at - NOW).total_seconds()))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert next_attempt(NOW, SEND_ATTEMPTS, late) is None
    assert next_attempt(NOW, 3, NOW + timedelta(seconds=4)) is None, "the code would be too old"
    assert next_attempt(NOW, 3, NOW + timedelta(seconds=5)) == NOW + timedelta(seconds=4)
    assert sum(waits) < 600, "all attempts fit into the life of a code"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("vi", "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en-US,en;q=0.9,vi;q=0.8", "en"),
        ("fr-FR, vi;q=0.5, en;q=0.4", "vi"),
        ("fr", "en"),
        ("*", "en"),
        ("vi;q=0", "en"),
        ("VI ; q=0.3 , en;q=0.2", "vi"),
        ("vi;q=1.9, en", "en"),
        ("a" * 1000 + ",vi", "en"),
        ("vi;q=zero, vi;q=0.1", "vi"),
    ],
)
def test_the_language_is_what_somebody_likes_best(header: str | None, language: str) -> None:
    assert choose_language(header) == language


@given(st.text())
def test_any_header_gives_a_language(header: str) -> None:
    assert choose_language(header) in {"en", "vi"}


def test_a_letter_says_the_code_how_long_it_lives_and_what_to_do_if_it_was_not_you() -> None:
    for language, minutes, stranger in (("en", "10 minutes", "not you"), ("vi", "10 phút", "không phải bạn")):
        text = write("code", language, "012345", "Giờ Vàng")  # type: ignore[arg-type]
        for part in (text.subject, text.body, text.short):
            assert "012345" in part
            assert "Giờ Vàng" in part
        assert minutes in text.body
        assert stranger in text.body
        taken = write("taken", language, None, "earlybird")  # type: ignore[arg-type]
        assert not Counter(taken.subject + taken.body + taken.short) & Counter("0123456789"), "there is no code"
    for language in ("en", "vi"):
        for kind in ("code", "taken"):
            short = write(kind, language, "012345", "earlybird").short  # type: ignore[arg-type]
            assert short.isascii(), "with accents a short message is cut at 70 characters"
            assert len(short) <= 160


COMPLETE = {
    "smtp_url": "smtp://u:p%40ss@mail.example.com",
    "smtp_sender": "earlybird <no-reply@example.com>",
    "sms_webhook_url": "https://sms.example.com/send",
    "sms_webhook_secret": "whsec_" + "QUJD" * 8,
}


def test_complete_settings_name_the_servers() -> None:
    mail, sms = check_senders(Settings.model_validate(COMPLETE | {"verify": "email_and_phone"}))
    assert mail is not None
    assert (mail.host, mail.port, mail.user, mail.password) == ("mail.example.com", 587, "u", "p@ss")
    assert (mail.starts_tls, mail.is_tls) == (True, False)
    assert sms is not None
    assert "p@ss" not in repr(mail)
    assert "QUJD" not in repr(sms)
    assert check_senders(Settings()) == (None, None)
    here = {"smtp_url": "smtp://127.0.0.1:2525", "verify": "email"}
    assert not (check_senders(Settings.model_validate(COMPLETE | here))[0] or mail).starts_tls
    tls = {"smtp_url": "smtps://mail.example.com", "verify": "email"}
    mail, _ = check_senders(Settings.model_validate(COMPLETE | tls))
    assert mail is not None
    assert (mail.port, mail.is_tls, mail.starts_tls) == (465, True, False)


@pytest.mark.parametrize(
    ("verify", "change", "message"),
    [
        ("email", {"smtp_url": None}, "EARLYBIRD_VERIFY=email needs EARLYBIRD_SMTP_URL: see"),
        ("email", {"smtp_url": None, "smtp_sender": None}, "EARLYBIRD_SMTP_URL and EARLYBIRD_SMTP_SENDER"),
        ("phone", {"sms_webhook_secret": None}, "needs EARLYBIRD_SMS_WEBHOOK_SECRET"),
        ("email_and_phone", {"sms_webhook_url": None}, "needs EARLYBIRD_SMS_WEBHOOK_URL"),
        ("email", {"smtp_url": "http://mail.example.com"}, "EARLYBIRD_SMTP_URL: give"),
        ("email", {"smtp_url": "smtp://mail.example.com:port"}, "EARLYBIRD_SMTP_URL: give"),
        ("email", {"smtp_url": "smtp://"}, "EARLYBIRD_SMTP_URL: give"),
        ("email", {"smtp_sender": "earlybird"}, "EARLYBIRD_SMTP_SENDER: give"),
        ("email", {"smtp_sender": "a@example.com\nBcc: b@example.com"}, "EARLYBIRD_SMTP_SENDER: give"),
        ("phone", {"sms_webhook_url": "http://sms.example.com"}, "give an https address"),
        ("phone", {"sms_webhook_secret": "whsec_QUJD"}, "24 to 64 bytes"),
        ("phone", {"sms_webhook_secret": "whsec_!"}, "24 to 64 bytes"),
    ],
)
def test_settings_that_cannot_send_are_refused_in_one_line(
    verify: str, change: dict[str, str | None], message: str
) -> None:
    with pytest.raises(Failure) as refused:
        check_senders(Settings.model_validate(COMPLETE | {"verify": verify} | change))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_kept_of_contacts_and_codes_is_the_same_in_every_version() -> None:
    """Digests outlive an upgrade: with other ones, the codes that were sent would be void."""

    def digest(text: bytes) -> bytes:
        return hmac.digest(b"the secret", text, "sha256")

    assert ADA.key(b"the secret") == digest(b"7:contact5:email15:ada@example.com").hex()
    expected = digest(b"4:code5:email15:ada@example.com4:00ff6:123456")
    assert code_digest(b"the secret", ADA, b"\x00\xff", "123456") == expected
