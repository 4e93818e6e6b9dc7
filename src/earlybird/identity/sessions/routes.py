"""The HTTP of public keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import WithJsonSchema

from earlybird.identity.sessions.signer import TokenSigner

Jwks = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["keys"],
            "properties": {
                "keys": {"type": "array", "items": {"type": "object", "required": ["kty", "kid", "n", "e"]}}
            },
        }
    ),
]


def key_routes(signer: TokenSigner) -> APIRouter:
    """Build the route of the public keys."""
    router = APIRouter(tags=["accounts"])

    @router.get("/.well-known/jwks.json", summary="The public keys that verify tokens")
    async def get_jwks(response: Response) -> Jwks:
        response.headers["Cache-Control"] = "public, max-age=300"
        return dict(signer.jwks)

    return router
