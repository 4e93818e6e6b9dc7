"""Times as clients write and read them: ISO 8601, UTC, milliseconds."""

from datetime import UTC, datetime


def iso_utc(moment: datetime) -> str:
    """Write a time as clients see it: ISO 8601, UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
