"""Tokens: signed with identity's private key, verified by anyone with the public ones, offline.

RS256 access tokens after RFC 9068 (`typ: at+jwt`); the public keys travel as a JWKS (RFC 7517).
"""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx2
import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from earlybird.errors import Failure, InvalidToken, Unavailable

log = structlog.get_logger()

# The contract: a token lives 30 minutes. Not a setting.
TOKEN_TTL_SECONDS = 1800
CUSTOMER, CAMPAIGN_MANAGER = ROLES = ("customer", "campaign_manager")
_RSA_BITS = 3072  # NIST SP 800-57: 128-bit strength, good beyond 2030
_TYPE = "at+jwt"
_LONGEST_TOKEN = 4096
# A key that identity has withdrawn is trusted until the keys are fetched again: for a token not seen before, if it
# names a key that is not known, or if they are older than this.
_REFRESH_SECONDS = 3600
_RETRY_SECONDS = 1


class SigningKeyError(Failure):
    """The key file cannot be used; the message says why and what to do."""


def load_or_create_signing_key(path: Path) -> RSAKey:
    """Read the private key, or make one (RSA-3072, mode 0600) if there is none.

    Safe to call from several processes at once: all get the same key. Raises SigningKeyError.
    """
    try:
        if not path.exists():
            _create_signing_key(path)
        if path.stat().st_mode & 0o007:
            raise SigningKeyError(f"{path} can be read by every user of this machine: chmod 600 it, or renew it")
        key = RSAKey.import_key(path.read_bytes(), {"use": "sig", "alg": "RS256"})
    except OSError as error:
        raise SigningKeyError(f"cannot read or create the signing key {path}: {error.strerror}") from error
    except (JoseError, ValueError) as error:
        raise SigningKeyError(f"{path} is no RSA private key in PEM form") from error
    if not key.is_private:
        raise SigningKeyError(f"{path} holds a public key; the private one is needed")
    key.ensure_kid()  # the RFC 7638 thumbprint
    return key


def _create_signing_key(path: Path) -> None:
    """Write a new key beside `path` and link it there: whoever links first wins, and no reader sees half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".signing-key-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(RSAKey.generate_key(_RSA_BITS).as_pem(private=True))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        Path(draft).unlink()


class TokenSigner:
    """Issues access tokens, and publishes the key that verifies them."""

    def __init__(self, key: RSAKey, issuer: str, audience: str) -> None:
        """Sign with this key, for one issuer and audience."""
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self.jwks: Mapping[str, Any] = KeySet([key]).as_dict(private=False)

    def issue(self, user_id: UUID, roles: list[str], now: datetime) -> str:
        """Give a token for this user that lives TOKEN_TTL_SECONDS from `now` (aware)."""
        issued_at = int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "iat": issued_at,
            "exp": issued_at + TOKEN_TTL_SECONDS,
            "jti": str(uuid4()),
            "roles": roles,
        }
        return jwt.encode({"alg": "RS256", "typ": _TYPE, "kid": self._key.kid}, claims, self._key, ["RS256"])


class Keys(Protocol):
    """Where a verifier finds the key that a token names."""

    generation: int  # how often the keys have changed

    async def find(self, kid: str) -> RSAKey | None:
        """Give the key with this id, or None."""


class OwnKey:
    """The signing key itself, for identity, which verifies what it has signed."""

    def __init__(self, key: RSAKey) -> None:
        """Know this one key."""
        self._key = key
        self.generation = 0

    async def find(self, kid: str) -> RSAKey | None:
        """Give the key if it has this id."""
        return self._key if kid == self._key.kid else None


class PublicKeys:
    """identity's public keys: fetched when first needed, kept, fetched again for an unknown key id.

    Once it has keys it never needs identity again, but to learn of new ones.
    """

    def __init__(self, url: str, cooldown_seconds: float, http: httpx2.AsyncClient) -> None:
        """Fetch from this JWKS address, for unknown key ids at most once per cool-down."""
        self._url = url
        self._cooldown_seconds = cooldown_seconds
        self._http = http
        self._keys: dict[str, RSAKey] = {}
        self.generation = 0
        self._fetched_at = -float("inf")
        self._next_fetch_at = -float("inf")
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> RSAKey | None:
        """Give the key with this id, or None if identity has none. Raises Unavailable if it was never reached."""
        # One that is not known within the cool-down is none of ours, and no outage: else anybody could have us
        # answer 503, and who holds a token of a withdrawn key would wait instead of logging in again.
        if kid not in self._keys:
            await self._fetch_after_cooldown()
        elif time.monotonic() > self._fetched_at + _REFRESH_SECONDS and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._fetch_after_cooldown())
            self._refreshing.add_done_callback(self._refreshed)
        return self._keys.get(kid)

    async def check(self) -> None:
        """Return once there are keys; raise Unavailable if there are none to be had. A readiness check."""
        if not self._keys:
            await self._fetch_after_cooldown()

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _fetch_after_cooldown(self) -> None:
        async with self._fetching:
            if time.monotonic() >= self._next_fetch_at:
                await self._fetch()
        if not self._keys:
            raise Unavailable("Tokens cannot be checked right now. Try again in a moment.")

    async def _fetch(self) -> None:
        self._next_fetch_at = time.monotonic() + _RETRY_SECONDS
        try:
            response = await self._http.get(self._url, timeout=2)
            response.raise_for_status()
            keys = {key["kid"]: RSAKey.import_key(key) for key in response.json()["keys"] if key["kty"] == "RSA"}
        except (httpx2.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("jwks_fetch_failed", error=type(error).__name__)
            return
        if self._keys and keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys = keys
        self._fetched_at = time.monotonic()
        self._next_fetch_at = self._fetched_at + self._cooldown_seconds


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as the verified token says."""

    user_id: UUID
    roles: tuple[str, ...]
    expires_at: int  # Unix seconds


class TokenVerifier:
    """Verifies access tokens offline and remembers the verified ones, by digest, until they expire.

    All are forgotten when the keys change: one may be withdrawn, and what it signed with it.
    """

    def __init__(
        self,
        keys: Keys,
        issuer: str,
        audience: str,
        *,
        memory: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Accept this issuer and audience; remember at most `memory` tokens."""
        self._keys = keys
        self._memory = memory
        self._remembered: dict[bytes, Caller] = {}
        self._generation = keys.generation
        self._now = now
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(now()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            iat={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
        )

    async def verify(self, token: str) -> Caller:
        """Give the caller. Raises InvalidToken; Unavailable when the keys were never reached."""
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._remembered.clear()
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._remembered.get(digest)
        if caller is None:
            caller = await self._check(token)
            self._remember(digest, caller)
        elif caller.expires_at <= self._now():
            del self._remembered[digest]
            raise _expired()
        return caller

    async def _check(self, token: str) -> Caller:
        if len(token) > _LONGEST_TOKEN:
            raise InvalidToken("The token is not one of ours.")
        try:
            header = jws.extract_compact(token.encode()).headers()
            key = await self._keys.find(str(header.get("kid")))
            if key is None or header.get("typ") not in {_TYPE, f"application/{_TYPE}"}:
                raise InvalidToken("The token is not one of ours.")
            claims = jwt.decode(token, key, algorithms=["RS256"]).claims
            self._claims.validate(claims)
            return Caller(UUID(claims["sub"]), tuple(claims.get("roles", ())), int(claims["exp"]))
        except JoseError as error:
            raise (
                _expired() if error.error == "expired_token" else InvalidToken("The token is not valid.")
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidToken("The token is not valid.") from error

    def _remember(self, digest: bytes, caller: Caller) -> None:
        if self._memory:
            if len(self._remembered) >= self._memory:
                del self._remembered[next(iter(self._remembered))]  # the oldest
            self._remembered[digest] = caller


def _expired() -> InvalidToken:
    return InvalidToken("The token has expired: log in again.")
