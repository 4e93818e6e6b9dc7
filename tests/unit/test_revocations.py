"""Which sessions have ended, as far as a service knows."""

import json
from uuid import UUID

import pytest

from earlybird.access.permissions import Caller
from earlybird.access.revocations import Revocations
from earlybird.errors import InvalidToken

ADA, BOB = UUID(int=1), UUID(int=2)


def caller(user_id: UUID = ADA, session_id: str = "s1", epoch: int = 0, key_id: str = "k1") -> Caller:
    return Caller(user_id, (), 0, session_id, epoch, key_id)


def is_ended(known: Revocations, one: Caller) -> bool:
    try:
        known.check(one)
    except InvalidToken:
        return True
    return False


def test_at_first_nothing_has_ended() -> None:
    assert not is_ended(Revocations(), caller())


def test_a_session_that_ended_ends_alone() -> None:
    known = Revocations()
    known.take("session.s1", b"")
    assert is_ended(known, caller())
    assert not is_ended(known, caller(session_id="s2"))


def test_all_sessions_of_a_person_end_but_those_that_begin_later() -> None:
    known = Revocations()
    known.take(f"user.{ADA}", json.dumps({"epoch": 2, "but": ""}).encode())
    assert [is_ended(known, caller(epoch=epoch)) for epoch in (0, 1, 2, 3)] == [True, True, False, False]
    assert not is_ended(known, caller(user_id=BOB))
    assert (known.epoch(ADA), known.epoch(BOB)) == (2, 0)


def test_the_session_that_changed_the_password_goes_on() -> None:
    known = Revocations()
    known.take(f"user.{ADA}", json.dumps({"epoch": 1, "but": "s1"}).encode())
    assert not is_ended(known, caller(session_id="s1"))
    assert is_ended(known, caller(session_id="s2"))


def test_a_key_that_is_retired_ends_all_that_it_signed() -> None:
    known = Revocations()
    known.take("key.k1", b"")
    assert is_ended(known, caller())
    assert not is_ended(known, caller(key_id="k2"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("role.x", b""), ("", b""), ("user.x", b"{}"), (f"user.{ADA}", b"x"), (f"user.{ADA}", b"{}")],
)
def test_an_entry_that_is_none_of_ours_is_refused(key: str, value: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        Revocations().take(key, value)
