"""What identity keeps of sessions, read beside a later version."""

from dataclasses import asdict

from earlybird.identity.sessions.store import Session, _session


def test_a_session_of_which_a_later_version_has_noted_more_is_read() -> None:
    session = Session("id", 0, "curl", "192.0.x.x", 1.0)
    assert _session(asdict(session) | {"place_of_login": "Hanoi"}) == session
