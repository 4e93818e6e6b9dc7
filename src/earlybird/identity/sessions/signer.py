"""Tokens: RS256 access tokens after RFC 9068 (`typ: at+jwt`), signed with identity's private key."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from earlybird.access.verifier import TOKEN_TYPE

# The contract: a token lives 30 minutes. Not a setting.
TOKEN_TTL_SECONDS = 1800


class TokenSigner:
    """Issues access tokens, and publishes the key that verifies them."""

    def __init__(self, key: RSAKey, issuer: str, audience: str) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self.jwks: Mapping[str, Any] = KeySet([key]).as_dict(private=False)

    def issue(self, user_id: UUID, roles: list[str], now: datetime) -> str:
        """Return a token for this user that lives TOKEN_TTL_SECONDS from `now` (aware)."""
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
        return jwt.encode({"alg": "RS256", "typ": TOKEN_TYPE, "kid": self._key.kid}, claims, self._key, ["RS256"])


class OwnKey:
    """The signing key itself, for identity, which verifies what it has signed."""

    def __init__(self, key: RSAKey) -> None:
        self._key = key
        self.generation = 0

    async def find(self, kid: str) -> RSAKey | None:
        """Return the key if it has this id."""
        return self._key if kid == self._key.kid else None
