"""What all shapes of promotions are made of: amounts, currencies, times."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from earlybird.money import CURRENCIES, LARGEST_AMOUNT
from earlybird.times import iso_utc

_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("give an ISO 4217 code, such as VND")
    return code


Shown = Annotated[datetime, PlainSerializer(iso_utc), _DATE_TIME]


Currency = Annotated[
    str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": CURRENCIES, "example": "VND"})
]


Amount = Annotated[int, Field(ge=1, le=LARGEST_AMOUNT, description="minor units: cents, whole dong, …")]


Percent = Annotated[int, Field(ge=1, le=100, description="percent", examples=[30])]


class Body(BaseModel):
    """Whatever is not in the shape is refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)
