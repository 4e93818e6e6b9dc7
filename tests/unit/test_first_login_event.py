"""The one event between the services."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.events import FirstLogin, MalformedEvent

events = st.builds(
    FirstLogin,
    n=st.integers(1, 2**53),
    user_id=st.uuids(),
    first_login_at=st.integers(0, 4_000_000_000_000).map(
        lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    ),
)


@given(events)
def test_an_event_reads_back_as_it_was_written(event: FirstLogin) -> None:
    assert FirstLogin.from_json(event.to_json()) == event


def test_an_event_is_a_cloudevent_without_personal_data() -> None:
    event = FirstLogin(37, uuid4(), datetime(2026, 11, 23, 12, tzinfo=UTC))
    assert json.loads(event.to_json()) == {
        "specversion": "1.0",
        "id": "37",
        "source": "/earlybird/identity",
        "type": "earlybird.identity.first_login.v1",
        "subject": str(event.user_id),
        "time": "2026-11-23T12:00:00.000+00:00",
        "datacontenttype": "application/json",
        "data": {"n": 37, "first_login_at": "2026-11-23T12:00:00.000+00:00"},
    }


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"type":"other"}', b'{"type":"earlybird.identity.first_login.v1"}'],
)
def test_what_is_no_first_login_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedEvent):
        FirstLogin.from_json(payload)
