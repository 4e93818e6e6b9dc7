"""Which passwords may be chosen: long enough, not common, not built from what others know of a person."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.errors import Refusal
from earlybird.identity.passwords.rules import PasswordRules

RULES = PasswordRules(8, "earlybird")
ADA = ["ada.lovelace", "ada@difference-engine.example", "+84912345678", "Ada Lovelace"]


def refused(password: str, rules: PasswordRules = RULES) -> tuple[str, str]:
    with pytest.raises(Refusal) as refusal:
        rules.check(password, ADA)
    return refusal.value.code, refusal.value.message


@pytest.mark.parametrize("length", [1, 7, 129])
def test_a_password_of_another_length_is_refused(length: int) -> None:
    assert refused("ə" * length) == ("invalid_field", "password: use 8 to 128 characters.")


@pytest.mark.parametrize("password", ["correct horse battery", "ə" * 8, "ə" * 128, "12 monkeys in a lovely lace"])
def test_a_password_of_any_characters_is_accepted(password: str) -> None:
    RULES.check(password, ADA)


def test_the_least_length_is_that_of_the_deployment() -> None:
    strict = PasswordRules(15, "earlybird")
    assert refused("fourteen chars", strict) == ("invalid_field", "password: use 15 to 128 characters.")
    strict.check("fifteen letters", ADA)


@pytest.mark.parametrize("password", ["password", "12345678", "PASSWORD", "qwertyuiop"])
def test_a_common_password_is_refused(password: str) -> None:
    code, message = refused(password)
    assert code == "weak_password"
    assert "among the most used passwords" in message


def test_so_many_common_passwords_are_known_as_asvs_asks_for() -> None:
    assert len(RULES._commonest) == 3000
    assert min(map(len, RULES._commonest)) == 8
    assert "123456789987654321" in PasswordRules(15, "earlybird")._commonest


def test_the_rest_of_the_word_lists_is_not_kept() -> None:
    assert not [name for name in sys.modules if name.startswith("zxcvbn")]


@pytest.mark.parametrize(
    "password",
    [
        *(
            "ada.lovelace",
            "AdaLovelace1815!",
            "ecalevol2026",
            "lovelace-lovelace",
            "difference.engine",
            "Lovelace ada",
        ),
        *("0912345678", "+84912345678", "my 912345678"),
    ],
)
def test_a_password_from_ones_own_words_is_refused(password: str) -> None:
    code, message = refused(password)
    assert code == "weak_password"
    assert "your own name, user name, e-mail address or phone number" in message


@pytest.mark.parametrize("password", ["earlybird", "Earlybird2026", "dribylrae!!"])
def test_a_password_from_the_services_name_is_refused(password: str) -> None:
    assert "the name of this service" in refused(password)[1]


@given(password=st.text(min_size=8, max_size=128), person=st.lists(st.text(max_size=40), max_size=4))
def test_whatever_is_refused_is_refused_with_its_reason(password: str, person: list[str]) -> None:
    refusal = None
    try:
        RULES.check(password, person)
    except Refusal as error:
        refusal = error
    assert refusal is None or (refusal.code == "weak_password" and password not in refusal.message)
