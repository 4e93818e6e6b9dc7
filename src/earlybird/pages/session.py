"""Who is at the browser: the cookie that carries the access token, and the proof that a form is our own. No I/O.

The pages keep no state and no secret. The cookie's value is the access token, or a random value before the login.
A form's token is derived from it, so another site, which cannot read the cookie, cannot make one (OWASP, signed
double-submit; here the HMAC's key is the session's own secret value).
"""

import hmac
import secrets
from collections.abc import Mapping

SECURE_COOKIE = "__Host-earlybird"  # browsers take it over TLS alone, for this host alone (RFC 6265bis, 4.1.3.2)
PLAIN_COOKIE = "earlybird"
_VISITOR = "visitor."  # no token of identity begins so


def cookie_name(*, is_secure: bool) -> str:
    """Return the name of the session's cookie, with and without TLS."""
    return SECURE_COOKIE if is_secure else PLAIN_COOKIE


def new_visitor() -> str:
    """Return the cookie of somebody who is not logged in."""
    return _VISITOR + secrets.token_urlsafe(24)


def token_of(cookie: str) -> str | None:
    """Return the access token; None for a visitor."""
    return None if not cookie or cookie.startswith(_VISITOR) else cookie


def csrf_token(cookie: str) -> str:
    """Return what every form of this session carries."""
    return hmac.digest(cookie.encode(), b"csrf", "sha256").hex()


def is_own_form(cookie: str, sent: str, headers: Mapping[str, str], origin: str) -> bool:
    """Say whether a form was sent by a page of ours to this origin, such as `https://earlybird.example`.

    Browsers say where a form comes from, in one header or both (W3C Fetch Metadata; RFC 6454, section 7). Whoever
    sends neither still needs the token, compared in constant time.
    """
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    if headers.get("origin", origin) != origin:
        return False
    return bool(cookie) and hmac.compare_digest(csrf_token(cookie).encode(), sent.encode())


def safe_return(path: str) -> str:
    """Return where to go after the login: a page of the person's own on this site, or `/`, never another site."""
    is_ours = path.startswith(("/my", "/console")) and not set(path) & set("\\\r\n\t") and "//" not in path
    return path if is_ours and path.isascii() else "/"
