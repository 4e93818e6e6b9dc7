"""What every answer of the pages says to the browser: what may run, and what may be kept."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing comes from elsewhere and nothing runs inline (OWASP ASVS 5.0, 3.4.3).
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_SAFE = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)
_NOT_KEPT = (b"cache-control", b"no-store")


class SafeHeaders:
    """Adds the headers to every answer; what says nothing about caching is not kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and add to its answer."""

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = list(message["headers"])
                if not any(name == b"cache-control" for name, _ in sent):
                    sent.append(_NOT_KEPT)
                message = {**message, "headers": [*sent, *_SAFE]}
            await send(message)

        await self._app(scope, receive, send_safe)
