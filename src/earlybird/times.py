"""Times as clients write and read them: ISO 8601, with a zone, to the millisecond."""

import re
from datetime import UTC, datetime

# RFC 3339, the profile of ISO 8601 for the Internet; seconds may be left out.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999  # a time and some days stay within what Python and MongoDB can count


def iso_utc(moment: datetime) -> str:
    """Return a time as clients see it: ISO 8601, UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: object) -> datetime:
    """Return the time that this text means, in UTC. Raises ValueError.

    A time without a zone, a date alone, and a number are refused: they could be meant in more than one way. The
    time is kept to the millisecond, as MongoDB keeps it.
    """
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        raise ValueError("give a time in ISO 8601 with its zone, such as 2026-12-01T09:00:00+07:00")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such time") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"give a time between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
