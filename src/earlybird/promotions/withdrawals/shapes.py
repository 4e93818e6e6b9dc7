"""What withdrawals look like over HTTP, in both directions."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from earlybird.errors import Refusal
from earlybird.promotions.shapes import Body, Shown
from earlybird.promotions.withdrawals.model import REASON_CHARACTERS, Wanted, Withdrawal
from earlybird.text import one_line

_LONGEST_RAW = 1000  # characters as sent: the limit that matters is that of the normal form


def _parse_id(text: object) -> UUID:
    try:
        found = UUID(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != str(text).lower():
        raise ValueError("give an id, such as 019ab2f0-6c1e-7d3a-9b52-3f1f0c6a7e11")
    return found


Id = Annotated[UUID, BeforeValidator(_parse_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_LONGEST_RAW,
        description=f"why, in {REASON_CHARACTERS} characters; kept for good, so name nobody",
        examples=["one of forty accounts from one script"],
    ),
    AfterValidator(partial(one_line, most=REASON_CHARACTERS)),
]


class NewWithdrawal(Body):
    """Body of POST /campaigns/{id}/withdrawals: whose voucher, or which."""

    user_id: Id | None = Field(None, description="whose voucher; this or `voucher_id`")
    voucher_id: Id | None = None
    reason: Reason
    replace: bool = Field(False, description="let the next in line have one")

    def wanted(self, campaign_id: UUID) -> Wanted:
        """Return which voucher is meant. Raises Refusal `invalid_field` unless one id says so."""
        if (self.user_id is None) == (self.voucher_id is None):
            raise Refusal("invalid_field", "user_id: give this or voucher_id, one of the two.")
        return Wanted(campaign_id, self.user_id, self.voucher_id)


class ShownWithdrawal(Body):
    """A withdrawal as those who run campaigns see it."""

    voucher_id: str
    user_id: str
    campaign_id: str
    position: int
    withdrawn_at: Shown
    withdrawn_by: str = Field(description="a user id, or `cli:<name>`")
    reason: str
    is_replaced: bool

    @classmethod
    def of(cls, withdrawal: Withdrawal) -> "ShownWithdrawal":
        """Show a withdrawal."""
        fields = asdict(withdrawal)
        return cls.model_validate(
            {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}
        )


class Withdrawn(Body):
    """The withdrawal."""

    status: Literal["success"] = "success"
    withdrawal: ShownWithdrawal
