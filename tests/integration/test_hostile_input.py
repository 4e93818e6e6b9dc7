"""Whatever is sent in whatever field: a refusal below 500 in bounded time, and nothing is stored."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from identity_service import IdentityService, identity_service
from people import registration

from earlybird.settings import Settings

BODIES: dict[str, dict[str, object]] = {
    "/register": registration(1),
    "/login": {"username": "person-1", "password": "correct horse battery"},
}
OPERATORS = ["$ne", "$gt", "$where", "$regex", "$expr", "a.b", "$", "", "__proto__", "constructor", "\0"]
DEEP: Any = None
for _ in range(200):
    DEEP = {"a": [DEEP]}
HOSTILE: list[Any] = [
    *({name: 1} for name in OPERATORS),
    *([], ["person-1"], [[]], {}, None, True, 1, -1, 1e308, 2**70, DEEP),
    *("\0", "a\0b", "\ud800", "\udfff\ud800", "\u202eabc", "\u200b" * 9, "x" * 15_000),
]
NAMES = st.text() | st.sampled_from(OPERATORS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(OPERATORS), inner, max_size=4)
    ),
    max_leaves=12,
)

FIELDS = st.sampled_from(sorted(BODIES["/register"]))


class Identity:
    """The service, and how many accounts it has stored."""

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    def send(self, path: str, body: object) -> httpx2.Response:
        return self._service.post(path, body if isinstance(body, bytes) else json.dumps(body).encode())

    def stored(self) -> int:
        return self._service.run(self._service.database["users"].count_documents({}))


@pytest.fixture
def identity(settings: Settings) -> Iterator[Identity]:
    with identity_service(settings) as service:
        yield Identity(service)


def test_a_hostile_value_in_any_field_is_refused_and_nothing_is_stored(identity: Identity) -> None:
    for path, body in BODIES.items():
        for field in body:
            for value in HOSTILE:
                if field == "password" and isinstance(value, str) and 8 <= len(value) <= 128:
                    continue  # any characters make a password
                answer = identity.send(path, body | {field: value})
                assert answer.status_code in {400, 429}, (path, field, value, answer.text)
                assert answer.json()["status"] == "error"
    assert identity.stored() == 0


@pytest.mark.parametrize("path", BODIES)
def test_a_field_too_many_is_refused(identity: Identity, path: str) -> None:
    for name in (
        "roles",
        "is_active",
        "_id",
        "password.hash",
        "$set",
        "session_epoch",
        "is_locked",
        "first_login_at",
    ):
        answer = identity.send(path, BODIES[path] | {name: 1})
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_field")
    assert identity.stored() == 0


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"username": "a", "username": "b"}', b"[" * 8000),
        *(b'{"a":' * 2000 + b"1" + b"}" * 2000, b'{"username": NaN}', b"\xef\xbb\xbf{}", b"x" * 1_000_000),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_body_that_is_no_object_is_refused(identity: Identity, path: str, content: bytes) -> None:
    assert identity.send(path, content).status_code == 400
    assert identity.stored() == 0


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(sorted(BODIES)),
    body=JSON | st.dictionaries(st.sampled_from(sorted(BODIES["/register"])), JSON),
)
def test_whatever_is_sent_is_answered_below_500(identity: Identity, path: str, body: object) -> None:
    answer = identity.send(path, json.dumps(body).encode("utf-8", "surrogatepass"))
    assert answer.status_code in {400, 429}, answer.text
