"""Tokens: RS256 access tokens after RFC 9068 (`typ: at+jwt`), signed with identity's private key."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from earlybird.access.verifier import TOKEN_TYPE
from earlybird.identity.sessions.key_plan import TOKEN_TTL_SECONDS


class SigningKeys(Protocol):
    """Where a signer finds its keys: see `KeyFolder`."""

    def signing_key(self) -> RSAKey:
        """Return the key that signs now."""

    def public_keys(self) -> Mapping[str, RSAKey]:
        """Return the keys that verify tokens now or will soon, by id."""


class TokenSigner:
    """Issues access tokens, and publishes the keys that verify them."""

    def __init__(self, keys: SigningKeys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience

    def issue(self, user_id: UUID, roles: list[str], now: datetime, session_id: str, epoch: int) -> str:
        """Return a token for this user that lives TOKEN_TTL_SECONDS from `now` (aware).

        `epoch` counts how often all sessions of this person were ended.
        """
        key, issued_at = self._keys.signing_key(), int(now.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "iat": issued_at,
            "exp": issued_at + TOKEN_TTL_SECONDS,
            "jti": session_id,
            "epoch": epoch,
            "client_id": self._audience,
            "roles": roles,
        }
        return jwt.encode({"alg": "RS256", "typ": TOKEN_TYPE, "kid": key.kid}, claims, key, ["RS256"])

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        return dict(KeySet(list(self._keys.public_keys().values())).as_dict(private=False))


class OwnKeys:
    """The signing keys themselves, for identity, which verifies what it has signed."""

    def __init__(self, keys: SigningKeys) -> None:
        self._folder = keys
        self._known: frozenset[str] = frozenset()
        self._generation = 0

    @property
    def generation(self) -> int:
        """How often the keys have changed."""
        known = frozenset(self._folder.public_keys())
        if known != self._known:
            self._known = known
            self._generation += 1
        return self._generation

    async def find(self, kid: str) -> RSAKey | None:
        """Return the key if it has this id."""
        return self._folder.public_keys().get(kid)
