"""What stands in a published list, a JSON value to a line. docs/seals.md is its page. No database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from earlybird.errors import Failure
from earlybird.identity.ledger.seals import PublicEntry
from earlybird.promotions.campaigns.model import Campaign

FORMAT = "earlybird-list/1"
_LONGEST_LINE = 100_000_000  # bytes: of the head, which has a pair of numbers for each winner
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_BIG = 2**47  # the year 6429, in milliseconds
Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedCampaign(_Part):
    """The terms that decide who wins, and what the voucher is."""

    id: str
    name: str
    discount: int
    number_of_promotion: Annotated[int, Field(ge=0)]
    first_n: Annotated[int, Field(ge=1)]
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None

    @classmethod
    def of(cls, campaign: Campaign) -> "PublishedCampaign":
        """Take what is public of a campaign. Raises Failure for a draft."""
        if campaign.first_n is None or campaign.starts_at is None:
            raise Failure(f"“{campaign.name}” is a draft: nobody has been counted")
        names = ("name", "discount", "number_of_promotion", "first_n", "starts_at", "ends_at")
        return cls(id=str(campaign.id), **{name: getattr(campaign, name) for name in names})

    def window_ms(self) -> tuple[int, int]:
        """Return from when on, and before when, a first login counts: milliseconds since 1970."""
        starts = -(
            (EPOCH - self.starts_at) // _MILLISECOND
        )  # rounded up, as what lies between two does not matter
        return starts, _BIG if self.ends_at is None else -((EPOCH - self.ends_at) // _MILLISECOND)


class Withdrawal(_Part):
    """A voucher that was taken back; if `replaced`, one more place wins."""

    position: Annotated[int, Field(ge=1)]
    at: AwareDatetime
    replaced: bool


class Head(_Part):
    """The first line."""

    format: Literal["earlybird-list/1"] = FORMAT  # type: ignore[assignment]
    campaign: PublishedCampaign
    withdrawals: list[Withdrawal]
    winners: list[tuple[int, int]] = Field(description="position and number of each first login that won")
    seal_before: Hex = Field(description="of the entry before `first_n`")
    last_n: int = Field(description="of the last entry in the file; one less than `first_n` if there is none")
    seal: str = Field(description="number and seal of the last entry, signed")
    key: dict[str, Any] = Field(description="the public key (JWK)")

    @model_validator(mode="after")
    def _in_order(self) -> "Head":
        positions = [one.position for one in self.withdrawals]
        if any(before >= after for before, after in pairwise(positions)):
            raise ValueError("the withdrawals are not in order of position")
        return self

    @property
    def capacity(self) -> int:
        """How many places win."""
        return self.campaign.number_of_promotion + sum(one.replaced for one in self.withdrawals)


def line(value: object) -> str:
    """Write a line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def entry_line(entry: PublicEntry) -> str:
    """Write an entry: number, commitment in hexadecimal, milliseconds since 1970."""
    return f'[{entry.n},"{entry.commitment.hex()}",{entry.at_ms}]\n'


def read_head(path: Path) -> Head:
    """Read the first line. Raises Failure, and OSError."""
    with path.open("rb") as file:
        try:
            return Head.model_validate_json(file.readline(_LONGEST_LINE))
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"])) or "it"
            raise Failure(f"{path}: this is no {FORMAT}: {where}: {error.errors()[0]['msg']}") from None


def read_entries(path: Path) -> Iterator[PublicEntry]:
    """Read the entries, one after another. Raises Failure, and OSError."""
    with path.open("rb") as file:
        file.readline()
        for number, text in enumerate(file, start=2):
            try:
                entry = _entry(json.loads(text))
            except (ValueError, TypeError) as error:
                raise Failure(f"{path}: line {number} is no entry") from error
            yield entry


def _entry(value: Any) -> PublicEntry:  # noqa: ANN401 - whatever stands in the file
    n, commitment, at_ms = value
    if type(n) is not int or type(at_ms) is not int or not (0 < n < _BIG and 0 <= at_ms < _BIG):
        raise ValueError("numbers and times are whole, and none is negative or huge")
    return PublicEntry(n, bytes.fromhex(commitment), at_ms)
