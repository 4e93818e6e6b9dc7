"""Which sessions have ended, as far as a service knows."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.access.permissions import Caller
from earlybird.access.revocations import Entry, Revocations, ended_key, ended_session, ended_sessions
from earlybird.errors import InvalidToken

ADA, BOB = UUID(int=1), UUID(int=2)


def caller(user_id: UUID = ADA, session_id: str = "s1", epoch: int = 0, key_id: str = "k1") -> Caller:
    return Caller(user_id, (), 0, session_id, epoch, key_id)


def is_ended(known: Revocations, one: Caller) -> bool:
    try:
        known.check(one)
    except InvalidToken as error:
        assert error.message == "This session has ended: log in again."  # noqa: PT017  # most have not
        return True
    return False


def after(*entries: Entry) -> Revocations:
    known = Revocations()
    for entry in entries:
        known.take(*entry)
    return known


def test_what_is_known_can_be_told_again() -> None:
    known = after(ended_session("s1"), ended_sessions(ADA, 2, "s2"), ended_sessions(BOB, 1), ended_key("k1"))
    assert after(*known.entries()) == known


def test_an_entry_says_what_has_ended() -> None:
    assert ended_session("s1") == ("session.s1", b"")
    assert ended_sessions(ADA, 2) == (f"user.{ADA}.2", b"")
    assert ended_sessions(ADA, 2, "s1") == (f"user.{ADA}.2", b"s1")
    assert ended_key("k1") == ("key.k1", b"")


def test_at_first_nothing_has_ended() -> None:
    assert not is_ended(Revocations(), caller())
    assert Revocations().epoch(ADA) == 0


def test_a_session_that_ended_ends_alone() -> None:
    known = after(ended_session("s1"))
    assert is_ended(known, caller())
    assert not is_ended(known, caller(session_id="s2"))


def test_all_sessions_of_a_person_end_but_those_that_begin_later() -> None:
    known = after(ended_sessions(ADA, 2))
    assert [is_ended(known, caller(epoch=epoch)) for epoch in (0, 1, 2, 3)] == [True, True, False, False]
    assert not is_ended(known, caller(user_id=BOB))
    assert (known.epoch(ADA), known.epoch(BOB)) == (2, 0)


def test_the_session_that_changed_the_password_goes_on() -> None:
    known = after(ended_sessions(ADA, 1, "s1"))
    assert not is_ended(known, caller(session_id="s1"))
    assert is_ended(known, caller(session_id="s2"))
    known.take(*ended_sessions(ADA, 2, "s2"))
    assert is_ended(known, caller(session_id="s1"))
    assert not is_ended(known, caller(session_id="s2"))


def test_a_key_that_is_retired_ends_all_that_it_signed() -> None:
    known = after(ended_key("k1"))
    assert is_ended(known, caller())
    assert not is_ended(known, caller(key_id="k2"))


ENTRIES = st.lists(
    st.builds(ended_session, st.sampled_from(["s1", "s2"]))
    | st.builds(ended_key, st.sampled_from(["k1", "k2"]))
    | st.builds(
        lambda who, epoch: ended_sessions(who, epoch, f"s{epoch}"), st.sampled_from([ADA, BOB]), st.integers(1, 9)
    ),
    max_size=8,
)


@given(entries=ENTRIES, data=st.data())
def test_entries_may_come_in_any_order_and_more_than_once(entries: list[Entry], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(entries), max_size=3)) if entries else []
    assert after(*data.draw(st.permutations([*entries, *again]))) == after(*entries)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role.x", b""),
        ("", b""),
        ("user.x.1", b""),
        (f"user.{ADA}", b""),
        (f"user.{ADA}.x", b""),
        (f"user.{ADA}.1", b"\xff"),
    ],
)
def test_an_entry_that_is_none_of_ours_is_refused(key: str, value: bytes) -> None:
    known = Revocations()
    with pytest.raises(ValueError, match=r"."):
        known.take(key, value)
    assert known == Revocations()
