"""Which passwords may be chosen: long enough, not common, not built from what others know of a person."""

import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.errors import Refusal
from earlybird.identity.passwords.rules import PasswordRules

ADVICE = "Choose another, such as four words of your own."
RULES = PasswordRules(8, "earlybird")
ADA = ["ada.lovelace", "ada@difference-engine.example", "+84912345678", "Ada Lovelace"]


def refused(password: str, rules: PasswordRules = RULES, person: Sequence[str] = ADA) -> tuple[str, str]:
    with pytest.raises(Refusal) as refusal:
        rules.check(password, person)
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
    assert (code, message) == ("weak_password", f"password: this is among the most used passwords. {ADVICE}")


def test_so_many_common_passwords_are_known_as_asvs_asks_for() -> None:
    commonest = PasswordRules(8, "earlybird")._commonest
    assert len(commonest) == 3000
    assert min(map(len, commonest)) == 8
    assert "123456789987654321" in PasswordRules(15, "earlybird")._commonest


def test_the_rest_of_the_word_lists_is_not_kept() -> None:
    PasswordRules(8, "earlybird")
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
    reason = "this is built from your own name, user name, e-mail address or phone number"
    assert (code, message) == ("weak_password", f"password: {reason}. {ADVICE}")


@pytest.mark.parametrize("password", ["earlybird", "Earlybird2026", "dribylrae!!"])
def test_a_password_from_the_services_name_is_refused(password: str) -> None:
    assert refused(password)[1] == f"password: this is built from the name of this service. {ADVICE}"


@pytest.mark.parametrize(
    ("person", "password", "is_weak"),
    [
        ("ovel lovelace", "lovelacexyz", True),  # the longest word counts first
        ("Lovelace", "lovelaceabc", True),
        ("Lovelace", "lovelaceabcd", False),  # four letters of one's own
        ("Ann Bob", "annbob123", True),  # short words together
        ("Ada Love", "loveqq12", True),
        ("Ann Bob", "annual 1234", False),  # a short word alone
        ("+12345678", "xyzq 12345678", True),
        ("+1234567", "xyzq 1234567", False),
        ("user12345678", "xyzq 12345678", False),  # no phone number
    ],
)
def test_where_the_rule_begins(person: str, password: str, is_weak: bool) -> None:
    if is_weak:
        assert refused(password, person=[person])[0] == "weak_password"
    else:
        RULES.check(password, [person])


@given(password=st.text(min_size=8, max_size=128), person=st.lists(st.text(max_size=40), max_size=4))
def test_whatever_is_refused_is_refused_with_its_reason(password: str, person: list[str]) -> None:
    refusal = None
    try:
        RULES.check(password, person)
    except Refusal as error:
        refusal = error
    assert refusal is None or (refusal.code == "weak_password" and password not in refusal.message)
