"""GET /voucher goes round the framework, and nobody can tell: whatever is sent, both ways answer alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from people import put_voucher
from redis.asyncio import Redis

from earlybird.access.callers import Callers
from earlybird.access.permissions import Caller
from earlybird.access.verifier import TokenVerifier
from earlybird.identity.sessions.signer import OwnKeys, TokenSigner
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.infra.http.app import create_web_app, provide
from earlybird.infra.mongo import Client
from earlybird.promotions.vouchers import routes
from earlybird.promotions.vouchers.busy_read import BusyRead
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.model import Voucher
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.store import VoucherStore
from earlybird.settings import Settings

Headers = Sequence[tuple[bytes, bytes]]
TOKENS = "winner", "other", "expired"
AUTHORIZATIONS = [
    *("Bearer {winner}", "Bearer {other}", "Bearer {expired}", "bearer  {winner} ", "Bearer {winner}x"),
    *("Bearer", "Bearer ", "Basic {winner}", "", "{winner}", "Bearer \xe9", "Bearer " + "x" * 5000),
]
OTHERS: list[tuple[bytes, bytes]] = [
    *((b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http"), (b"accept", b"text/html")),
    *((b"x-forwarded-proto", b"HTTPS"), (b"traceparent", b"nonsense"), (b"user-agent", b"\xe9")),
]
UNUSUAL: list[tuple[bytes, bytes]] = [
    *((b"content-type", b"application/json"), (b"content-type", b"text/plain"), (b"idempotency-key", b"a")),
    *((b"content-length", b"99999"), (b"content-length", b"0"), (b"transfer-encoding", b"chunked")),
]


@dataclass
class BothWays:
    """The same services, round the framework and through it."""

    round_it: httpx2.AsyncClient
    through_it: httpx2.AsyncClient
    tokens: dict[str, str]

    async def answers(
        self, method: str, target: str, headers: Headers
    ) -> list[tuple[int, bytes, list[tuple[str, str]]]]:
        answers = [
            await way.request(method, target, headers=list(headers)) for way in (self.round_it, self.through_it)
        ]
        return [(one.status_code, one.content, sorted(one.headers.multi_items())) for one in answers]


async def confirm(caller: Caller, _: str) -> Caller:
    return caller


def both_ways(vouchers: Vouchers, keys: KeyFolder, tokens: dict[str, str]) -> BothWays:
    callers = Callers(TokenVerifier(OwnKeys(keys), "earlybird", "earlybird", memory=9), confirm)
    app = create_web_app("promotions", "1")
    provide(app, callers, vouchers)
    app.include_router(routes.router)
    round_it, through_it = (
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(way, raise_app_exceptions=False),
            base_url="http://test",
            trust_env=False,
        )
        for way in (BusyRead(app, callers, vouchers), app)
    )
    return BothWays(round_it, through_it, tokens)


@pytest.fixture
def keys(settings: Settings) -> KeyFolder:
    return KeyFolder(settings.signing_key_folder, None)


@pytest.fixture
def users() -> dict[str, UUID]:
    return {name: uuid4() for name in TOKENS}


@pytest.fixture
def tokens(keys: KeyFolder, users: dict[str, UUID]) -> dict[str, str]:
    signer, now = TokenSigner(keys, "earlybird", "earlybird"), datetime.now(UTC)
    began = dict.fromkeys(TOKENS, now) | {"expired": now - timedelta(days=1)}
    return {name: signer.issue(users[name], ["customer"], began[name], name, 0) for name in TOKENS}


@pytest.fixture
async def ways(
    mongo: Client, valkey: Redis, keys: KeyFolder, users: dict[str, UUID], tokens: dict[str, str]
) -> BothWays:
    await put_voucher(mongo, users["winner"])
    return both_ways(Vouchers(VoucherStore(mongo["promotions"]), VoucherCache(valkey, 300, 1)), keys, tokens)


@hypothesis_settings(max_examples=400, suppress_health_check=list(HealthCheck), database=None)
@given(
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST"]),
    st.sampled_from(["/voucher", "/voucher", "/voucher?a=1", "/voucher/", "/vouchers"]),
    st.lists(st.sampled_from(AUTHORIZATIONS), max_size=2),
    st.lists(st.sampled_from(OTHERS), max_size=3),
    st.lists(st.sampled_from(UNUSUAL), max_size=2),
)
@example("GET", "/voucher", ["Bearer {winner}"], OTHERS[:2], [])
async def test_whatever_is_sent_both_ways_answer_alike(
    ways: BothWays, method: str, target: str, authorizations: list[str], others: Headers, unusual: Headers
) -> None:
    sent = [(b"authorization", one.format(**ways.tokens).encode("latin-1")) for one in authorizations]
    round_it, through_it = await ways.answers(method, target, [*others, *sent, *unusual])
    assert round_it == through_it


async def test_each_kind_of_answer_is_given_without_the_framework(
    ways: BothWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would compare the framework with itself."""

    async def nobody(*_: Any) -> None:
        pytest.fail("it was handed on")

    monkeypatch.setattr(ways.round_it._transport.app, "_app", nobody)  # type: ignore[attr-defined]
    for token, status in (("winner", 200), ("other", 400), ("expired", 400)):
        answer = await ways.round_it.get("/voucher", headers={"Authorization": f"Bearer {ways.tokens[token]}"})
        assert answer.status_code == status


async def test_a_fault_of_ours_is_answered_and_logged_alike(
    mongo: Client, valkey: Redis, keys: KeyFolder, tokens: dict[str, str]
) -> None:
    class Broken(VoucherStore):
        async def find_current_vouchers(self, *_: Any, **__: Any) -> dict[UUID, Voucher]:
            raise ZeroDivisionError

    ways = both_ways(Vouchers(Broken(mongo["promotions"]), VoucherCache(valkey, 300, 1)), keys, tokens)
    headers = [(b"authorization", f"Bearer {tokens['winner']}".encode())]
    round_it, through_it = await ways.answers("GET", "/voucher", headers)
    assert round_it == through_it
    assert round_it[0] == 500
