"""What accounts look like over HTTP, in both directions."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earlybird.identity.accounts.model import (
    check_birthday,
    new_username,
    normalise_email,
    normalise_full_name,
    normalise_password,
    parse_birthday,
)


def _birthday(text: str) -> date:
    return check_birthday(parse_birthday(text), datetime.now(UTC).date())


_LONGEST_RAW = 1024  # characters of a field as sent: the limits that matter are those of its normal form


def _raw(description: str, example: str) -> Any:  # noqa: ANN401  # as pydantic types it
    return Field(min_length=1, max_length=_LONGEST_RAW, description=description, examples=[example])


class Registration(BaseModel):
    """Body of POST /register. The service normalises the phone number, since it knows the country."""

    model_config = ConfigDict(extra="forbid", strict=True)

    username: Annotated[str, AfterValidator(new_username)] = _raw(
        "3-32 letters, digits, `.`, `_`, `-`; at least one letter", "ada.lovelace"
    )
    email: Annotated[str, AfterValidator(normalise_email)] = _raw("at most 254 octets", "ada@example.com")
    phone: str = _raw("in international form, or as people of the country dial it", "+84 912 345 678")
    password: Annotated[str, AfterValidator(normalise_password)] = _raw(
        "as many characters as the deployment asks for (8 by default), at most 128",
        "correct horse battery",
    )
    full_name: Annotated[str, AfterValidator(normalise_full_name)] = _raw(
        "1-200 visible characters", "Ada Lovelace"
    )
    birthday: Annotated[str, AfterValidator(_birthday)] = Field(
        min_length=4, max_length=40, description="ISO 8601 date or datetime", examples=["1990-12-10"]
    )


class Registered(BaseModel):
    """The account was made."""

    status: Literal["success"] = "success"


class ShownAccount(BaseModel):
    """The caller's account as it is now."""

    id: str
    roles: list[str]


class AccountFound(BaseModel):
    """An active account."""

    status: Literal["success"] = "success"
    account: ShownAccount
