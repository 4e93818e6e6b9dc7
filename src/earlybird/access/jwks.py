"""Reading a JWKS (RFC 7517): which of its keys can verify our tokens."""

from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

log = structlog.get_logger()

_SHORTEST_MODULUS = 342  # base64url characters of 2048 bits, the least of RFC 7518, section 3.3


def usable_keys(document: Any) -> dict[str, RSAKey]:  # noqa: ANN401  # what came, whatever it is
    """Return the keys of a JWKS that can verify our tokens, by id; the others are left out (RFC 7517, section 5).

    Of two keys with one id the first counts.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str, RSAKey] = {}
    for entry in entries if isinstance(entries, list) else []:
        key = _usable(entry)
        if key is None or str(key.kid) in keys:
            log.warning("jwks_entry_left_out", kid=str(entry.get("kid"))[:64] if isinstance(entry, dict) else None)
        else:
            keys[str(key.kid)] = key
    return keys


def _usable(entry: Any) -> RSAKey | None:  # noqa: ANN401  # what came, whatever it is
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    if not isinstance(entry.get("n"), str) or len(entry["n"]) < _SHORTEST_MODULUS:
        return None
    try:
        return RSAKey.import_key(entry)
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return None
