"""The HTTP of public keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import WithJsonSchema

from earlybird.identity.sessions.signer import TokenSigner
from earlybird.infra.http.app import built

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


router = APIRouter(tags=["accounts"])


@router.get("/.well-known/jwks.json", summary="The public keys that verify tokens")
async def get_jwks(response: Response, signer: Annotated[TokenSigner, Depends(built(TokenSigner))]) -> Jwks:
    response.headers["Cache-Control"] = "public, max-age=300"
    return dict(signer.jwks)
