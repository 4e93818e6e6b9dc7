"""Tokens: anyone can verify them with the published keys alone, and /voucher takes no others."""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from earlybird.identity.sessions.signer import TokenSigner
from earlybird.identity.sessions.signing_key import load_or_create_signing_key
from earlybird.infra.mongo import Client
from journey.customers import assert_refused, log_in, new_person, newcomer_token, register, see_voucher
from journey.records import close_campaigns, user_ids
from journey.stack_client import RunningStack

CHALLENGE = 'Bearer error="invalid_token"'


async def test_a_token_verifies_with_a_stock_library_and_the_published_keys(
    http: httpx2.AsyncClient, mongo: Client
) -> None:
    person = new_person()
    await register(http, person)
    tokens = [await log_in(http, person), await log_in(http, person)]
    published = (await http.get("/.well-known/jwks.json")).json()
    keys = KeySet.import_key_set(published)
    decoded = [jwt.decode(token, keys, algorithms=["RS256"]) for token in tokens]
    now = int(datetime.now(UTC).timestamp())
    for token in decoded:
        assert (token.header["alg"], token.header["typ"]) == ("RS256", "at+jwt")
        assert token.header["kid"] in {key["kid"] for key in published["keys"]}
        assert (token.claims["iss"], token.claims["aud"]) == ("earlybird", "earlybird")
        assert UUID(token.claims["sub"]) == (await user_ids(mongo, [person]))[person.username]
        assert token.claims["exp"] - token.claims["iat"] == 1800
        assert token.claims["iat"] <= now < token.claims["exp"]
        assert {person.username, person.email, person.phone}.isdisjoint(map(str, token.claims.values()))
    assert decoded[0].claims["jti"] != decoded[1].claims["jti"]


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Basic YWRhOmFkYQ==", "Token abc"],
    ids=["none", "empty", "bare", "Basic", "other"],
)
async def test_no_token_is_refused_with_the_challenge(http: httpx2.AsyncClient, header: str | None) -> None:
    answer = await http.get("/voucher", headers={} if header is None else {"Authorization": header})
    assert_refused(answer, "missing_token")
    assert answer.headers["www-authenticate"] == "Bearer", "no error, for there is no token"


@dataclass(frozen=True)
class Forge:
    """What a forger has: a good token, the public key; and, to sign what is expired, the private one."""

    token: str
    key: RSAKey

    @property
    def header(self) -> dict[str, object]:
        return {"alg": "RS256", "typ": "at+jwt", "kid": self.key.kid}

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(datetime.now(UTC).timestamp())
        claims = {"iss": "earlybird", "aud": "earlybird", "sub": str(uuid4()), "jti": str(uuid4()), "roles": []}
        return claims | {"iat": now, "exp": now + 1800} | changes

    def signed(self, **changes: object) -> str:
        """Sign with identity's own key."""
        return jwt.encode(self.header, self.claims(**changes), self.key, ["RS256"])

    def expired(self) -> str:
        signer = TokenSigner(self.key, "earlybird", "earlybird")
        return signer.issue(uuid4(), [], datetime.now(UTC) - timedelta(minutes=30, seconds=6))

    def with_other_claims(self) -> str:
        header, _, signature = self.token.split(".")
        return f"{header}.{_base64(self.claims())}.{signature}"

    def with_other_key(self) -> str:
        return jwt.encode(self.header, self.claims(), RSAKey.generate_key(2048), ["RS256"])

    def with_public_key_as_secret(self) -> str:
        """By hand: a good library refuses to do so."""
        signed = f"{_base64(self.header | {'alg': 'HS256'})}.{_base64(self.claims())}"
        mac = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    def unsigned(self) -> str:
        return f"{_base64(self.header | {'alg': 'none'})}.{_base64(self.claims())}."

    def of_another_type(self) -> str:
        return jwt.encode(self.header | {"typ": "JWT"}, self.claims(), self.key, ["RS256"])


def _base64(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@pytest.fixture
async def forge(stack: RunningStack, http: httpx2.AsyncClient) -> Forge:
    """A forger with a good token of somebody new."""
    return Forge(await newcomer_token(http), load_or_create_signing_key(stack.data_dir / "signing-key.pem"))


FORGERIES: dict[str, Callable[[Forge], str]] = {
    "garbage": lambda _: "garbage",
    "three parts of garbage": lambda _: "a.b.c",
    "two tokens": lambda forge: f"{forge.token} {forge.token}",
    "5000 characters": lambda _: "x" * 5000,
    "no ASCII": lambda _: "é.é.é",
    "cut off": lambda forge: forge.token[:-10],
    "without its signature": lambda forge: forge.token.rpartition(".")[0] + ".",
    "other claims": Forge.with_other_claims,
    "another key": Forge.with_other_key,
    "the public key as a secret": Forge.with_public_key_as_secret,
    "algorithm none": Forge.unsigned,
    "another type": Forge.of_another_type,
    "another audience": lambda forge: forge.signed(aud="another-bank"),
    "another issuer": lambda forge: forge.signed(iss="another-bank"),
    "no subject": lambda forge: forge.signed(sub=None),
    "a subject that is no id": lambda forge: forge.signed(sub="ada"),
    "expired": Forge.expired,
}


@pytest.mark.parametrize("case", FORGERIES)
async def test_a_garbled_forged_or_expired_token_is_refused_with_the_challenge(
    http: httpx2.AsyncClient, forge: Forge, case: str
) -> None:
    token = FORGERIES[case](forge)
    for _ in range(2):  # a refusal is not remembered as anything else
        answer = await http.get("/voucher", headers={b"Authorization": f"Bearer {token}".encode()})
        assert_refused(answer, "invalid_token")
        assert answer.headers["www-authenticate"] == CHALLENGE


async def test_a_token_that_identity_could_have_signed_is_taken(http: httpx2.AsyncClient, forge: Forge) -> None:
    """Shows that the forgeries fail for their flaws, not for the way they are made."""
    assert_refused(await see_voucher(http, forge.signed()), "voucher_not_found")


async def test_somebody_without_a_voucher_is_told_so(http: httpx2.AsyncClient, mongo: Client) -> None:
    await close_campaigns(mongo)
    answer = await see_voucher(http, await newcomer_token(http))
    assert_refused(answer, "voucher_not_found")
    assert "www-authenticate" not in answer.headers
