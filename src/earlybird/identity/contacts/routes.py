"""The HTTP of verification."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from earlybird.identity.contacts.model import DIGITS
from earlybird.identity.contacts.service import Contacts
from earlybird.identity.throttle.model import source
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, TOO_MANY, refused
from earlybird.infra.http.strict_json import StrictRoute

_CLIENT_ADDRESS = "x-client-address"


def _text(description: str, example: str) -> Any:  # noqa: ANN401  # as pydantic types it
    return Field(min_length=1, max_length=1024, description=description, examples=[example])


class CodeRequest(BaseModel):
    """Body of POST /verifications."""

    model_config = ConfigDict(extra="forbid", strict=True)

    contact: str = _text("the e-mail address or phone number to confirm", "ada@example.com")


class CodeRequested(BaseModel):
    """If an account waits for this contact, another code is on its way there."""

    status: Literal["success"] = "success"


class Confirmation(BaseModel):
    """Body of POST /verifications/confirm."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: str = _text("of the account that was registered", "ada.lovelace")
    contact: str = _text("the e-mail address or phone number that the code came to", "ada@example.com")
    code: str = Field(pattern=rf"^[0-9]{{{DIGITS}}}$", description="six digits", examples=["123456"])


class Confirmed(BaseModel):
    """The contact is confirmed. When all are that the deployment asks for, the account may log in."""

    status: Literal["success"] = "success"


router = APIRouter(
    prefix="/verifications",
    route_class=StrictRoute,
    tags=["accounts"],
    responses={400: refused("malformed"), 422: refused("a bad field"), 429: TOO_MANY, 503: OVERLOAD},
)
_Contacts = Annotated[Contacts, Depends(built(Contacts))]


@router.post("", summary="Send another code to a contact")
async def send_another(
    body: CodeRequest, request: Request, response: Response, contacts: _Contacts
) -> CodeRequested:
    response.headers["Cache-Control"] = "no-store"
    await contacts.send_another(body.contact, source(request.headers.get(_CLIENT_ADDRESS)))
    return CodeRequested()


@router.post(
    "/confirm",
    summary="Confirm a contact with its code",
    responses={
        400: refused("malformed, or the code is not good"),
        409: refused("somebody else has confirmed this contact, or has taken a name, in between"),
    },
)
async def confirm(body: Confirmation, request: Request, response: Response, contacts: _Contacts) -> Confirmed:
    response.headers["Cache-Control"] = "no-store"
    address = source(request.headers.get(_CLIENT_ADDRESS))
    await contacts.confirm(body.username, body.contact, body.code, address)
    return Confirmed()
