"""Tokens: what identity signs, promotions believes, and nothing else."""

import asyncio
import json
import stat
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey

from earlybird.access import public_keys
from earlybird.access.jwks import usable_keys
from earlybird.access.permissions import Caller
from earlybird.access.public_keys import PublicKeys
from earlybird.access.revocation_feed import LIFETIME_SECONDS
from earlybird.access.verifier import TokenVerifier
from earlybird.errors import InvalidToken, MissingToken, Unavailable
from earlybird.identity.sessions.signer import TokenSigner
from earlybird.identity.sessions.signing_keys import KeyFolder, SigningKeyError

NOW = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)
USER = UUID("01a20a56-e221-7050-a940-27d41eeb92a8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder(tmp_path_factory.mktemp("keys"), None)


@pytest.fixture(scope="module")
def key(folder: KeyFolder) -> RSAKey:
    return folder.signing_key()


class OneKey:
    """A signer's only key."""

    def __init__(self, key: RSAKey) -> None:
        self._key = key

    def signing_key(self) -> RSAKey:
        return self._key

    def public_keys(self) -> dict[str, RSAKey]:
        return {str(self._key.kid): self._key}


class Signer(TokenSigner):
    """A signer whose sessions have ids of their own."""

    def sign(self, user_id: UUID, roles: list[str], now: datetime) -> str:
        return self.issue(user_id, roles, now, str(uuid4()), 0)


@pytest.fixture
def signer(folder: KeyFolder) -> Signer:
    return Signer(folder, "earlybird", "earlybird")


class Identity:
    """identity's JWKS address, as an HTTP transport that counts; it can be down."""

    def __init__(self, *keys: RSAKey) -> None:
        self.keys = list(keys)
        self.is_down = False
        self.fetches = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.fetches += 1
        if self.is_down:
            raise httpx2.ConnectError("down", request=request)
        return httpx2.Response(
            200, json={"keys": [key.as_dict(private=False) | {"kid": key.kid} for key in self.keys]}
        )


def verifier(
    identity: Identity, *, at: float | None = None, memory: int = 10, cooldown: float = 30
) -> TokenVerifier:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(identity))
    keys = PublicKeys("http://identity/jwks", cooldown, http)
    moment = NOW.timestamp() if at is None else at
    return TokenVerifier(keys, "earlybird", "earlybird", memory=memory, now=lambda: moment)


def test_a_token_has_the_form_of_the_contract(signer: Signer, key: RSAKey) -> None:
    token = signer.sign(USER, ["customer"], NOW)
    header = jws.extract_compact(token.encode()).headers()
    claims = jwt.decode(token, key, algorithms=["RS256"]).claims
    assert header == {"alg": "RS256", "typ": "at+jwt", "kid": key.thumbprint()}
    assert claims["exp"] - claims["iat"] == 1800
    assert claims["iat"] == int(NOW.timestamp())
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("earlybird", "earlybird", str(USER))
    assert claims["jti"] != jwt.decode(signer.sign(USER, [], NOW), key, algorithms=["RS256"]).claims["jti"]


def test_the_key_is_rsa_3072_and_only_its_public_half_is_published(signer: Signer, key: RSAKey) -> None:
    [published] = signer.jwks["keys"]
    assert key.raw_value.key_size == 3072
    assert set(published) == {"kty", "n", "e", "kid", "use", "alg"}


def test_the_key_files_are_private_and_reused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = KeyFolder(path, None).signing_key()
    assert KeyFolder(path, None).signing_key().kid == first.kid
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.iterdir() if file.name != ".lock"}
    assert files == dict.fromkeys([f"{first.kid}.pem", "keys.json", "device-secret", "seal-key.pem"], 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_device_secret_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    before = KeyFolder(tmp_path, None)
    secret, kid = before.device_secret(), before.signing_key().kid
    assert len(secret) == 32
    (tmp_path / "device-secret").unlink()
    after = KeyFolder(tmp_path, None)
    assert (after.device_secret() == secret, after.signing_key().kid) == (False, kid)


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: KeyFolder(tmp_path / "keys", None).signing_key().kid, range(4)))
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    kid = KeyFolder(tmp_path, None).signing_key().kid
    (tmp_path / f"{kid}.pem").write_bytes(content)
    with pytest.raises(SigningKeyError, match="cannot be read"):
        KeyFolder(tmp_path, None)


def test_a_key_whose_private_half_is_damaged_is_refused(tmp_path: Path) -> None:
    key = KeyFolder(tmp_path, None).signing_key()
    assert key.private_key is not None
    known = key.private_key.private_numbers()
    damaged = RSAPrivateNumbers(
        known.p, known.q, known.d + 2, known.dmp1 + 2, known.dmq1, known.iqmp, known.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    pem = damaged.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / f"{key.kid}.pem").write_bytes(pem)
    with pytest.raises(SigningKeyError, match="not the private key that its name says"):
        KeyFolder(tmp_path, None)


def test_a_key_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    kid = KeyFolder(tmp_path, None).signing_key().kid
    (tmp_path / f"{kid}.pem").chmod(0o644)
    with pytest.raises(SigningKeyError, match="chmod 600"):
        KeyFolder(tmp_path, None)


def test_with_a_passphrase_the_key_on_disk_is_encrypted(tmp_path: Path) -> None:
    kid = KeyFolder(tmp_path, "open sesame").signing_key().kid
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / f"{kid}.pem").read_bytes()
    assert KeyFolder(tmp_path, "open sesame").signing_key().kid == kid
    for wrong in (None, "close sesame"):
        with pytest.raises(SigningKeyError, match="EARLYBIRD_SIGNING_KEY_PASSPHRASE"):
            KeyFolder(tmp_path, wrong)


def test_a_key_that_is_rotated_out_goes_on_to_verify(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path, None)
    old = keys.signing_key().kid
    keys.rotate(600)
    assert keys.signing_key().kid == old
    assert len(keys.public_keys()) == 2
    with pytest.raises(SigningKeyError, match="under way"):
        keys.rotate(600)
    with pytest.raises(SigningKeyError, match="no other key signs now"):
        keys.retire(str(old))


def test_a_key_that_is_retired_is_gone_at_once(tmp_path: Path) -> None:
    keys, other = KeyFolder(tmp_path, None), KeyFolder(tmp_path, None)
    old = str(keys.signing_key().kid)
    keys.rotate(0)
    assert keys.retire(old[:8]).kid == old
    assert keys.signing_key().kid != old
    assert old not in keys.public_keys()
    assert not (tmp_path / f"{old}.pem").exists()
    other._read_at = -float("inf")  # a second later
    assert other.signing_key().kid == keys.signing_key().kid


async def test_a_good_token_names_its_caller(signer: Signer, key: RSAKey) -> None:
    caller = await verifier(Identity(key)).verify(signer.sign(USER, ["customer"], NOW))
    assert (caller.user_id, caller.roles) == (USER, ("customer",))


async def test_a_token_names_its_session_its_epoch_and_its_key(signer: Signer, key: RSAKey) -> None:
    judge = verifier(Identity(key))
    caller = await judge.verify(signer.issue(USER, [], NOW, "session-1", 7))
    assert (caller.session_id, caller.epoch, caller.key_id) == ("session-1", 7, key.kid)
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    older = await judge.verify(jwt.encode(header, CLAIMS, key, ["RS256"]))
    assert older.epoch == 0, "a token of the version before"


async def test_each_caller_is_shown_to_the_check_also_when_remembered(signer: Signer, key: RSAKey) -> None:
    seen: list[Caller] = []
    keys = PublicKeys("http://x", 30, httpx2.AsyncClient(transport=httpx2.MockTransport(Identity(key))))
    judge = TokenVerifier(keys, "earlybird", "earlybird", memory=9, check_caller=seen.append, now=NOW.timestamp)
    token = signer.sign(USER, [], NOW)
    callers = [await judge.verify(token) for _ in range(2)]
    assert seen == callers


@pytest.mark.parametrize("part", [0, 1])
async def test_a_name_that_stands_twice_is_refused(key: RSAKey, part: int) -> None:
    parts = [json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}), json.dumps(CLAIMS)]
    parts[part] = f'{{"x": 1, "x": 2, {parts[part][1:]}'
    signed = ".".join(urlsafe_b64encode(text.encode()).rstrip(b"=").decode() for text in parts)
    assert key.private_key is not None
    signature = urlsafe_b64encode(key.private_key.sign(signed.encode(), PKCS1v15(), SHA256()))
    with pytest.raises(InvalidToken):
        await verifier(Identity(key)).verify(f"{signed}.{signature.decode().rstrip('=')}")


CLAIMS: dict[str, Any] = {
    "iss": "earlybird",
    "aud": "earlybird",
    "sub": str(USER),
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 1800,
    "jti": str(uuid4()),
}


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "someone"},
        {"aud": "other"},
        {"sub": "not-a-uuid"},
        {"exp": int(NOW.timestamp()) - 5},
        {"iat": int(NOW.timestamp()) + 6},
        {"nbf": int(NOW.timestamp()) + 6},
        {"exp": "soon"},
        {"roles": 7},
        *({name: None} for name in CLAIMS),
    ],
    ids=str,
)
async def test_a_token_with_any_wrong_or_missing_claim_is_refused(changed: dict[str, Any], key: RSAKey) -> None:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not None}
    token = jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, claims, key)
    with pytest.raises(InvalidToken):
        await verifier(Identity(key)).verify(token)


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(NOW.timestamp()) - 4},
        {"iat": int(NOW.timestamp()) + 1},
        {"iat": int(NOW.timestamp()) + 5},
        {"nbf": int(NOW.timestamp()) + 5},
    ],
    ids=str,
)
async def test_clocks_may_differ_by_five_seconds_both_ways(changed: dict[str, Any], key: RSAKey) -> None:
    token = jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, CLAIMS | changed, key)
    assert (await verifier(Identity(key)).verify(token)).user_id == USER


async def test_tokens_signed_by_anything_but_our_key_are_refused(key: RSAKey) -> None:
    header = {"typ": "at+jwt", "kid": key.kid}
    shared_secret = OctKey.generate_key(256)
    stranger = RSAKey.generate_key(2048)
    our_key_for_anything = RSAKey.import_key(key.as_pem(private=True))
    good = jwt.encode(header | {"alg": "RS256"}, CLAIMS, key)
    head, body, signature = good.split(".")
    forged = [
        jwt.encode(header | {"alg": "HS256"}, CLAIMS, shared_secret),
        jwt.encode(header | {"alg": "RS256"}, CLAIMS, stranger),
        jwt.encode(header | {"alg": "PS256"}, CLAIMS, our_key_for_anything, algorithms=["PS256"]),
        jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, CLAIMS, key),
        f"{head}.{body}.",
        f"{head}.{body[:-2]}AA.{signature}",
        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + body + ".",
        "", "a", "a.b", "a.b.c", "..", "ä.ö.ü", good + "." + signature, "x" * 5000,
    ]  # fmt: skip
    judge = verifier(Identity(key))
    for token in forged:
        with pytest.raises(InvalidToken):
            await judge.verify(token)
    assert (await judge.verify(good)).user_id == USER


async def test_a_remembered_token_expires_to_the_second_after_its_leeway(signer: Signer, key: RSAKey) -> None:
    moment = [NOW.timestamp()]
    keys = PublicKeys(
        "http://identity/jwks", 30, httpx2.AsyncClient(transport=httpx2.MockTransport(Identity(key)))
    )
    judge = TokenVerifier(keys, "earlybird", "earlybird", memory=10, now=lambda: moment[0])
    token = signer.sign(USER, [], NOW)
    await judge.verify(token)
    moment[0] = int(NOW.timestamp()) + 1804.9
    await judge.verify(token)
    moment[0] = int(NOW.timestamp()) + 1805
    for _ in range(2):
        with pytest.raises(InvalidToken, match="expired"):
            await judge.verify(token)


async def test_no_more_tokens_are_remembered_than_allowed(signer: Signer, key: RSAKey) -> None:
    judge = verifier(Identity(key), memory=3)
    for _ in range(8):
        await judge.verify(signer.sign(USER, [], NOW))
    assert len(judge._remembered) == 3


async def test_the_keys_are_fetched_once_and_serve_while_identity_is_down(signer: Signer, key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, memory=0)
    await judge.verify(signer.sign(USER, [], NOW))
    identity.is_down = True
    for _ in range(5):
        await judge.verify(signer.sign(USER, [], NOW))
    assert identity.fetches == 1


async def test_an_unknown_key_id_causes_one_fetch_per_cooldown(signer: Signer, key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=3600)
    await judge.verify(signer.sign(USER, [], NOW))
    stranger = RSAKey.generate_key(2048, {"kid": "stranger"})
    tokens = [
        jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": f"unknown-{i}"}, CLAIMS, stranger) for i in range(9)
    ]
    results = await asyncio.gather(*(judge.verify(token) for token in tokens), return_exceptions=True)
    assert all(isinstance(result, InvalidToken) for result in results)
    assert identity.fetches == 1


async def test_a_new_key_is_learnt_once_the_cooldown_is_over(key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=1e-9)
    await judge.verify(Signer(OneKey(key), "earlybird", "earlybird").sign(USER, [], NOW))
    new = RSAKey.generate_key(2048)
    new.ensure_kid()
    identity.keys.append(new)
    caller = await judge.verify(Signer(OneKey(new), "earlybird", "earlybird").sign(USER, [], NOW))
    assert caller.user_id == USER


async def test_a_retired_key_is_forgotten_before_its_retirement_is(
    key: RSAKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [0.0]
    monkeypatch.setattr(public_keys, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    identity = Identity(key)
    judge = verifier(identity, memory=0, cooldown=30)
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    forged = jwt.encode(header, CLAIMS | {"exp": CLAIMS["exp"] + 10 * 365 * 86400}, key)
    await judge.verify(forged)
    new = RSAKey.generate_key(2048)
    new.ensure_kid()
    identity.keys = [new]
    moment[0] = LIFETIME_SECONDS / 2
    await judge.verify(forged)  # and has the keys fetched again
    async with asyncio.timeout(5):
        while judge._keys.generation == 0:
            await asyncio.sleep(0)
    with pytest.raises(InvalidToken):
        await judge.verify(forged)


async def test_a_token_is_forgotten_with_the_key_that_signed_it_however_long_it_lives(key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=1e-9)
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    forged = jwt.encode(header, CLAIMS | {"exp": CLAIMS["exp"] + 10 * 365 * 86400}, key)
    await judge.verify(forged)
    new = RSAKey.generate_key(2048)
    new.ensure_kid()
    identity.keys = [new]
    await judge.verify(Signer(OneKey(new), "earlybird", "earlybird").sign(USER, [], NOW))
    with pytest.raises(InvalidToken):
        await judge.verify(forged)


async def test_tokens_stay_remembered_when_the_same_keys_are_fetched_again(signer: Signer, key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=1e-9)
    await judge.verify(signer.sign(USER, [], NOW))
    stranger = RSAKey.generate_key(2048, {"kid": "stranger"})
    with pytest.raises(InvalidToken):
        await judge.verify(Signer(OneKey(stranger), "earlybird", "earlybird").sign(USER, [], NOW))
    await judge.verify(signer.sign(USER, [], NOW))
    assert (identity.fetches, len(judge._remembered)) == (2, 2)


async def test_without_any_keys_tokens_cannot_be_judged_and_nobody_is_called_a_forger(
    signer: Signer, key: RSAKey
) -> None:
    identity = Identity(key)
    identity.is_down = True
    with pytest.raises(Unavailable):
        await verifier(identity).verify(signer.sign(USER, [], NOW))


async def test_a_broken_jwks_answer_is_an_outage_and_no_crash(signer: Signer) -> None:
    for answer in (b"", b"[]", b'{"keys": 1}', b'{"keys":[{"kty":"RSA"}]}', json.dumps({"keys": []}).encode()):
        transport = httpx2.MockTransport(lambda _, answer=answer: httpx2.Response(200, content=answer))
        keys = PublicKeys("http://identity/jwks", 30, httpx2.AsyncClient(transport=transport))
        judge = TokenVerifier(keys, "earlybird", "earlybird", memory=0, now=time.time)
        with pytest.raises(Unavailable):
            await judge.verify(signer.sign(USER, [], NOW))


GOOD = RSAKey.generate_key(2048, {"kid": "good", "use": "sig", "alg": "RS256"}).as_dict(private=False)
BAD_ENTRIES = [
    {name: value for name, value in GOOD.items() if name != "kid"},
    GOOD | {"kid": 7},
    GOOD | {"kid": "other", "use": "enc"},
    GOOD | {"kid": "other", "alg": "PS256"},
    GOOD | {"kid": "other", "n": "not base64url!"},
    GOOD | {"kid": "other", "n": 7},
    {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
    {"kty": "EC", "kid": "curve", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "RSA", "kid": "empty"},
    {"kid": "other"},
    GOOD | {"kid": "small", "n": GOOD["n"][:341]},
    GOOD | {"e": "AQ"},  # the same id again
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kty", "kid", "n", "e"]), inner),
    max_leaves=6,
)


@given(entries=st.lists(st.sampled_from(BAD_ENTRIES) | JSON, max_size=6))
def test_entries_that_cannot_be_used_are_left_out_and_the_others_serve(entries: list[Any]) -> None:
    found = usable_keys({"keys": [GOOD, *entries]})
    assert {kid: key.as_dict(private=False)["e"] for kid, key in found.items()} == {"good": GOOD["e"]}
    assert usable_keys({"keys": [entry for entry in entries if entry != GOOD | {"e": "AQ"}]}) == {}


def test_a_key_that_is_not_for_signatures_is_left_out() -> None:
    other = {**GOOD, "kid": "other"}
    assert set(usable_keys({"keys": [GOOD, other | {"use": "enc"}]})) == {"good"}
    assert set(usable_keys({"keys": [GOOD, other | {"use": "sig"}]})) == {"good", "other"}


def test_of_two_keys_with_one_id_the_first_counts(key: RSAKey) -> None:
    twin = {**key.as_dict(private=False), "kid": "good"}
    assert usable_keys({"keys": [GOOD, twin]})["good"].as_dict(private=False)["n"] == GOOD["n"]
    assert usable_keys({"keys": [twin, GOOD]})["good"].as_dict(private=False)["n"] == twin["n"]


@given(document=JSON)
def test_what_is_no_jwks_has_no_keys(document: Any) -> None:
    assert usable_keys(document) == usable_keys({"keys": document}) == {}


async def test_an_answer_without_a_usable_key_never_replaces_keys_that_worked(signer: Signer, key: RSAKey) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=1e-9, memory=0)
    await judge.verify(signer.sign(USER, [], NOW))
    identity.keys = []
    stranger = RSAKey.generate_key(2048, {"kid": "stranger"})
    with pytest.raises(InvalidToken):  # and makes us ask again
        await judge.verify(Signer(OneKey(stranger), "earlybird", "earlybird").sign(USER, [], NOW))
    assert identity.fetches == 2
    assert (await judge.verify(signer.sign(USER, [], NOW))).user_id == USER


def test_no_token_is_no_wrong_token() -> None:
    """RFC 6750, section 3.1: without a token the challenge names no error."""
    assert MissingToken().headers == {"WWW-Authenticate": "Bearer"}
    assert InvalidToken("no").headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda good, key: "x" * 4097, "The token is not one of ours."),
        (lambda good, key: "a.b.c", "The token is not valid."),
        (lambda good, key: good[:-6] + "AAAAAA", "The token is not valid."),
        (
            lambda good, key: jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": "x"}, CLAIMS, key),
            "The token is not one of ours.",
        ),
        (
            lambda good, key: jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, CLAIMS, key),
            "The token is not one of ours.",
        ),
        (
            lambda good, key: jwt.encode(
                {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, CLAIMS | {"sub": "nobody"}, key
            ),
            "The token is not valid.",
        ),
        (
            lambda good, key: jwt.encode(
                {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, CLAIMS | {"exp": 1}, key
            ),
            "The token has expired: log in again.",
        ),
    ],
)
async def test_a_token_is_refused_with_the_reason(make: Any, said: str, key: RSAKey) -> None:
    good = jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, CLAIMS, key)
    with pytest.raises(InvalidToken) as refusal:
        await verifier(Identity(key)).verify(make(good, key))
    assert refusal.value.message == said


async def test_the_type_may_be_written_in_full(key: RSAKey) -> None:
    """RFC 9068, section 2.1: application/at+jwt is the same."""
    token = jwt.encode({"alg": "RS256", "typ": "application/at+jwt", "kid": key.kid}, CLAIMS, key)
    assert (await verifier(Identity(key)).verify(token)).user_id == USER


async def test_a_remembered_token_is_not_verified_again(
    signer: Signer, key: RSAKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = verifier(Identity(key))
    token = signer.sign(USER, ["customer"], NOW)
    caller = await judge.verify(token)
    monkeypatch.setattr(judge, "_check", None)
    assert await judge.verify(token) is caller


async def test_tokens_are_remembered_again_after_the_keys_have_changed(
    key: RSAKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(key)
    judge = verifier(identity, cooldown=1e-9)
    await judge.verify(Signer(OneKey(key), "earlybird", "earlybird").sign(USER, [], NOW))
    new = RSAKey.generate_key(2048)
    new.ensure_kid()
    identity.keys.append(new)
    signer = Signer(OneKey(new), "earlybird", "earlybird")
    await judge.verify(signer.sign(USER, [], NOW))
    token = signer.sign(USER, [], NOW)
    caller = await judge.verify(token)
    monkeypatch.setattr(judge, "_check", None)
    assert await judge.verify(token) is caller


async def test_a_token_of_just_4_kib_is_read(key: RSAKey) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid}
    for padding in range(1500, 2600):
        token = jwt.encode(header, CLAIMS | {"padding": "x" * padding}, key)
        if len(token) >= 4096:
            break
    assert len(token) == 4096
    assert (await verifier(Identity(key)).verify(token)).user_id == USER


async def test_what_cannot_be_verified_now_is_said_so(signer: Signer, key: RSAKey) -> None:
    identity = Identity(key)
    identity.is_down = True
    with pytest.raises(Unavailable) as refusal:
        await verifier(identity).verify(signer.sign(USER, [], NOW))
    assert refusal.value.message == "Tokens cannot be checked right now. Try again in a moment."
