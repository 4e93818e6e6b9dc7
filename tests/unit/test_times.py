"""Times on their way in: ISO 8601 with its zone, exactly as they were typed, or a refusal."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from earlybird.promotions.campaigns.shapes import CampaignChanges, NewCampaign
from earlybird.times import iso_utc, parse_moment


def kept(moment: datetime) -> datetime:
    """Return a time to the millisecond."""
    return moment - timedelta(microseconds=moment.microsecond % 1000)


ZONES = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=ZONES)
TERMS = {"name": "Launch", "discount": 30, "number_of_promotion": 100}


@given(moment=MOMENTS)
@example(moment=datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12))))
@example(moment=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
def test_every_time_is_read_exactly_or_refused(moment: datetime) -> None:
    try:
        read = parse_moment(moment.isoformat())
    except ValueError:
        assert not 1971 <= moment.year <= 2998, "refused without a reason"
        return
    assert read == kept(moment)
    assert read.tzinfo is UTC
    assert parse_moment(iso_utc(read)) == read
    assert read + timedelta(days=3650) > read, "a voucher's last day can be counted"


@pytest.mark.parametrize("field", ["starts_at", "ends_at"])
@given(moment=MOMENTS)
def test_a_campaign_takes_a_time_or_refuses_it_by_its_field(field: str, moment: datetime) -> None:
    for shape, terms in ((NewCampaign, TERMS), (CampaignChanges, {})):
        try:
            outcome: Any = getattr(shape.model_validate({**terms, field: moment.isoformat()}), field)
        except ValidationError as error:
            outcome = [problem["loc"] for problem in error.errors()]
        assert outcome in (kept(moment), [(field,)])


NOT_ISO = [20301201, 1.5, True, "20301201", "2030-12-01", "2030-12-01T09:00", "2030-12-01 09:00:00", "1893456000"]
NOT_ISO += ["2030-12-01T09:00Z+07:00", "2030-W48-1T09:00Z", "2030-12-01T09:00:00 +07:00", "", "now", [], {}]
NOT_ISO += [
    "2030-13-01T09:00Z",
    "2030-02-30T09:00Z",
    "2030-12-01T25:00Z",
    "٢030-12-01T09:00Z",
]


@pytest.mark.parametrize("typed", NOT_ISO, ids=lambda typed: ascii(typed).replace("\\", ""))
def test_what_is_no_iso_time_with_its_zone_is_refused(typed: object) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|no such time"):
        parse_moment(typed)
    with pytest.raises(ValidationError):
        NewCampaign.model_validate({**TERMS, "ends_at": typed})


@pytest.mark.parametrize(
    "typed",
    [
        "2030-12-01T09:00+07:00",
        "2030-12-01 09:00:00+07:00",
        "2030-12-01t02:00:00.000z",
        "2030-12-01T02:00:00,000000Z",
    ],
)
def test_one_moment_may_be_written_in_several_ways(typed: str) -> None:
    assert parse_moment(typed) == datetime(2030, 12, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("soon", "give a time in ISO 8601 with its zone, such as 2026-12-01T09:00:00+07:00"),
        ("2030-02-30T09:00Z", "there is no such time"),
        ("1969-12-31T23:59:59Z", "give a time between the years 1970 and 2999"),
        ("3000-01-01T00:00:00Z", "give a time between the years 1970 and 2999"),
    ],
    ids=lambda value: value[:4],
)
def test_what_is_wrong_with_a_time_is_said(typed: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        parse_moment(typed)
    assert str(refused.value) == message


@pytest.mark.parametrize("typed", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z", "2030-12-01T09:00:00,5Z"])
def test_the_first_the_last_and_one_with_a_comma_are_times(typed: str) -> None:
    assert parse_moment(typed) == datetime.fromisoformat(typed.replace(",", "."))
