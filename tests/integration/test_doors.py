"""One normal form at every door: whoever registers logs in by the very text, and operators find them by it."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing

import httpx2
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from earlybird.access.revocations import RevocationFeed
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import build_identity_app, migrate_identity
from earlybird.identity.passwords.hashing import Passwords
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.mongo import Database, connect_mongo
from earlybird.infra.valkey import connect_valkey
from earlybird.settings import Settings

_numbers = itertools.count(10_000)


class Deployment:
    """The identity service on the real database, and what operators look people up with."""

    def __init__(
        self, runner: asyncio.Runner, http: httpx2.AsyncClient, accounts: AccountStore, database: Database
    ) -> None:
        self._users = database["users"]
        self.runner = runner
        self._http = http
        self._accounts = accounts

    def post(self, path: str, **body: str) -> httpx2.Response:
        return self.runner.run(self._http.post(path, json=body))

    def rename(self, old: str, new: str) -> None:
        self.runner.run(self._users.update_one({"username": old}, {"$set": {"username": new}}))

    def finds(self, login: str) -> str:
        return self.runner.run(self._accounts.find(login)).username


@pytest.fixture
def deployment(settings: Settings) -> Iterator[Deployment]:
    """An empty deployment, with a loop of its own: hypothesis is not asynchronous."""
    passwords = Passwords(memory_kib=8, iterations=1, slots=2, queue_seconds=10)
    with asyncio.Runner() as runner, closing(passwords):
        stack = AsyncExitStack()
        try:
            client = runner.run(stack.enter_async_context(connect_mongo(settings, "test")))
            valkey = runner.run(stack.enter_async_context(connect_valkey(settings, "test")))
            runner.run(migrate_identity(settings))
            database = client["identity"]
            runner.run(database["users"].delete_many({}))
            keys, feed = KeyFolder.of(settings), RevocationFeed(settings, "test")
            app = build_identity_app(settings, UserStore(database), database, valkey, passwords, keys, feed)
            http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://identity")
            accounts = AccountStore(database, "VN")
            yield Deployment(runner, runner.run(stack.enter_async_context(http)), accounts, database)
        finally:
            runner.run(stack.aclose())


def spelled(text: str) -> st.SearchStrategy[str]:
    """Return ways to write the same: case, full width, composed or not, spaces."""
    return st.sampled_from([text, text.upper(), text.title(), "".join(chr(ord(one) + 0xFEE0) for one in text)])


PHONES = st.sampled_from(["+84 {}", "(+84) {}", "+84-{}", "0{}", "(0{})", "0 {}", "+84.{}"])


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
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
