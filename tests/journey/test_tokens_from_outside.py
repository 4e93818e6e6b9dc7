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
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from earlybird.identity.sessions.signing_keys import KeyFolder
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
        then = int((datetime.now(UTC) - timedelta(minutes=30, seconds=6)).timestamp())
        return self.signed(iat=then, exp=then + 1800)

    def without(self, name: str) -> str:
        claims = self.claims()
        del claims[name]
        return jwt.encode(self.header, claims, self.key, ["RS256"])

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

    def mac(self, secret: bytes) -> str:
        """A token signed with a secret, as if our public key were one. By hand: a good library refuses this."""
        signed = f"{_base64(self.header | {'alg': 'HS256'})}.{_base64(self.claims())}"
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"

    def with_claim(self, name: str, value: object) -> str:
        return self.of_bytes(json.dumps(self.header).encode(), json.dumps(self.claims(**{name: value})).encode())

    def unsigned_as(self, alg: str) -> str:
        return f"{_base64(self.header | {'alg': alg})}.{_base64(self.claims())}."

    def with_header(self, header: dict[str, object]) -> str:
        """Signed by hand with identity's own key, whatever the header says."""
        return self.of_bytes(json.dumps(self.header | header).encode(), json.dumps(self.claims()).encode())

    def of_bytes(self, header: bytes, claims: bytes) -> str:
        """Sign these very bytes with identity's own key."""
        signed = f"{_encoded(header)}.{_encoded(claims)}"
        padding, digest = PKCS1v15(), SHA256()
        assert self.key.private_key is not None
        return f"{signed}.{_encoded(self.key.private_key.sign(signed.encode(), padding, digest))}"

    def by_another(self, header: dict[str, object], size: int = 3072) -> str:
        """Signed by a forger's own key, which the header brings along or points to."""
        own = RSAKey.generate_key(size)
        public = own.as_dict(private=False)
        filled = {name: public if value is OWN_KEY else value for name, value in header.items()}
        return Forge(self.token, own).with_header({"kid": self.key.kid} | filled)

    def as_json(self) -> str:
        """The JSON serialisation of a JWS."""
        header, claims, signature = self.signed().split(".")
        return json.dumps({"payload": claims, "protected": header, "signature": signature}).replace(" ", "")

    def twice(self, name: str) -> str:
        """A claim that stands twice: the last is the right one."""
        claims = json.dumps(self.claims())
        return self.of_bytes(json.dumps(self.header).encode(), f'{{"{name}": "someone", {claims[1:]}'.encode())

    def of_another_type(self) -> str:
        return jwt.encode(self.header | {"typ": "JWT"}, self.claims(), self.key, ["RS256"])


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _base64(content: dict[str, object]) -> str:
    return _encoded(json.dumps(content).encode())


@pytest.fixture
async def forge(stack: RunningStack, http: httpx2.AsyncClient) -> Forge:
    """A forger with a good token of somebody new."""
    return Forge(await newcomer_token(http), KeyFolder(stack.data_dir / "signing-keys", None).signing_key())


OWN_KEY = object()
DEEP = b'{"a":' * 600 + b"1" + b"}" * 600
ALGORITHMS = (
    "none",
    "HS256",
    "HS512",
    "RS384",
    "RS512",
    "PS256",
    "ES256",
    "EdDSA",
    "rs256",
    "",
    None,
    7,
    ["RS256"],
)
KIDS = ("", "nobody", "../../etc/passwd", "' OR 1=1 --", "\u0000", "x" * 2000, None, 7, ["a"], {"$ne": 1})
ODD: dict[str, list[object]] = {
    "exp": [0, -1, "soon", "9999999999", None, [], {}, True, 1e400, "1e9"],
    "iat": [99999999999, "now", None, {}],
    "nbf": [99999999999, "later"],
    "aud": ["", [], ["other"], {}, None],
    "iss": ["", "EARLYBIRD", ["other"], None],
    "sub": ["", "0", 7, ["a"], {}, "../x"],
}
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
    "the public key as a secret, DER": lambda forge: forge.mac(forge.key.as_der(private=False)),
    "the public key as a secret, JWK": lambda forge: forge.mac(json.dumps(forge.key.as_dict(False)).encode()),
    "an empty secret": lambda forge: forge.mac(b""),
    "its own key in jwk": lambda forge: forge.by_another({"jwk": OWN_KEY}),
    "its own key at jku": lambda forge: forge.by_another({"jku": "http://127.0.0.1:1/jwks.json"}),
    "its own certificate at x5u": lambda forge: forge.by_another({"x5u": "http://127.0.0.1:1/cert.pem"}),
    "its own certificate in x5c": lambda forge: forge.by_another({"x5c": ["AAAA"]}),
    "a crit that names a claim": lambda forge: forge.with_header({"crit": ["exp"], "exp": 1}),
    "a crit that nobody knows": lambda forge: forge.with_header({"crit": ["urn:x"], "urn:x": 1}),
    "b64 false": lambda forge: forge.with_header({"b64": False, "crit": ["b64"]}),
    "JSON serialisation": Forge.as_json,
    "iss twice": lambda forge: forge.twice("iss"),
    "20 kB": lambda forge: forge.signed(more="x" * 20_000),
    "deep": lambda forge: forge.of_bytes(json.dumps(forge.header).encode(), DEEP),
    "claims that are no object": lambda forge: forge.of_bytes(json.dumps(forge.header).encode(), b"[1]"),
    "a header that is no object": lambda forge: forge.of_bytes(b"[1]", json.dumps(forge.claims()).encode()),
    "a key of another size": lambda forge: forge.by_another({}, 2048),
}


def _forgery(make: Callable[..., str], *words: object) -> Callable[[Forge], str]:
    return lambda forge: make(forge, *words)


FORGERIES |= {
    **{f"alg {alg!r:.20}": _forgery(Forge.with_header, {"alg": alg}) for alg in ALGORITHMS},
    **{f"unsigned, alg {alg!r}": _forgery(Forge.unsigned_as, alg) for alg in ("None", "NONE", "nOnE", "")},
    **{f"kid {kid!r:.20}": _forgery(Forge.with_header, {"kid": kid}) for kid in KIDS},
    **{f"no {name}": _forgery(Forge.without, name) for name in ("iss", "aud", "exp", "iat", "jti")},
    **{
        f"{name} {value!r:.20}": _forgery(Forge.with_claim, name, value)
        for name, values in ODD.items()
        for value in values
    },
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
