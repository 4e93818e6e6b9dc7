"""One normal form at every door: whoever registers logs in by the very text, and operators find them by it."""

import itertools
import json
from collections.abc import Iterator

import httpx2
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from identity_service import IdentityService, identity_service

from earlybird.identity.accounts.administration import AccountStore
from earlybird.settings import Settings

_numbers = itertools.count(10_000)


class Deployment:
    """The identity service, and what operators look people up with."""

    def __init__(self, service: IdentityService) -> None:
        self._service = service
        self._accounts = AccountStore(service.database, "VN")

    def post(self, path: str, **body: str) -> httpx2.Response:
        return self._service.post(path, json.dumps(body).encode())

    def rename(self, old: str, new: str) -> None:
        users = self._service.database["users"]
        self._service.run(users.update_one({"username": old}, {"$set": {"username": new}}))

    def finds(self, login: str) -> str:
        return self._service.run(self._accounts.find(login)).username


@pytest.fixture
def deployment(settings: Settings) -> Iterator[Deployment]:
    with identity_service(settings) as service:
        yield Deployment(service)


def spelled(text: str) -> st.SearchStrategy[str]:
    """Return ways to write the same: case, full width, composed or not, spaces."""
    return st.sampled_from([text, text.upper(), text.title(), "".join(chr(ord(one) + 0xFEE0) for one in text)])


PHONES = st.sampled_from(["+84 {}", "(+84) {}", "+84-{}", "0{}", "(0{})", "0 {}", "+84.{}"])


@hypothesis_settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
@given(
    name=spelled("ada"),
    phone=PHONES,
    domain=st.sampled_from(["Example.COM", "bücher.example.com"]),
    letter=st.sampled_from("aÄǰé"),
)
@example(name="ada", phone="(+84) {}", domain="example.com", letter="J\u030c")
def test_whoever_registers_logs_in_by_the_very_text_and_is_found_by_it(
    deployment: Deployment, name: str, phone: str, domain: str, letter: str
) -> None:
    number = next(_numbers)
    username, email = f"{name}{number}", f"{letter}{number}@{domain}"
    written = phone.format(f"91{number:07}")
    body = {"full_name": "Ada", "birthday": "1990-12-10", "password": "cafe\u0301 noir"}
    answer = deployment.post("/register", username=username, email=email, phone=written, **body)
    assert answer.json() == {"status": "success"}
    for login in (username, email, written):
        assert deployment.post("/login", username=login, password="café noir").status_code == 200, login
        assert deployment.finds(login) == f"ada{number}"
    again = deployment.post("/register", username=f"other{number}", email=email, phone="+84 912 000 001", **body)
    assert again.json()["code"] == "duplicate_email"


def test_a_user_name_of_digits_from_before_still_logs_in_unless_it_is_somebodys_phone(
    deployment: Deployment,
) -> None:
    body = {"password": "correct horse", "full_name": "Ada", "birthday": "1990-12-10"}
    refused = deployment.post(
        "/register", username="0912000003", email="a@example.com", phone="0912000002", **body
    )
    assert (refused.json()["code"], refused.json()["message"]) == (
        "invalid_field",
        "username: use at least one letter a-z.",
    )
    deployment.post("/register", username="old", email="old@example.com", phone="0912000002", **body)
    deployment.rename("old", "0912000003")
    assert deployment.finds("0912000003") == "0912000003"
    assert deployment.post("/login", username="0912000003", password="correct horse").status_code == 200
    deployment.post("/register", username="new", email="new@example.com", phone="0912000003", **body)
    assert deployment.finds("0912000003") == "new"


@pytest.mark.parametrize("phone", ["call me +84 912 345 678", "0912", "ada"])
def test_a_phone_number_that_is_none_is_refused_by_name_and_not_repeated(
    deployment: Deployment, phone: str
) -> None:
    body = {"username": "ada", "email": "ada@example.com", "password": "correct horse", "full_name": "Ada"}
    answer = deployment.post("/register", phone=phone, birthday="1990-12-10", **body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("phone: give a valid phone number")
    assert phone not in answer.text
    assert answer.json()["code"] == "invalid_field"


def test_no_password_holds_the_phone_number_however_it_is_typed(deployment: Deployment) -> None:
    person = {"username": "ada", "email": "ada@example.com", "full_name": "Ada L", "birthday": "1990-12-10"}
    for phone in ("0912 345 678", "+84 912 345 678", "(+84) 912 345 678"):
        answer = deployment.post("/register", **person, phone=phone, password="xyzq 0912345678")
        assert answer.json()["code"] == "weak_password"
