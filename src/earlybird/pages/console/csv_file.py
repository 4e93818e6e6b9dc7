"""A table as a CSV file (RFC 4180) that no spreadsheet takes for a program."""

import csv
import io
from collections.abc import Iterable, Sequence

# A cell that begins so may be run as a formula (OWASP, CSV Injection).
_RUN = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> str:
    """Return the text of a cell; an apostrophe in front has a spreadsheet show it and not run it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RUN) else text


def csv_line(values: Sequence[object]) -> str:
    """Return one line of the file."""
    line = io.StringIO()
    csv.writer(line).writerow([cell(value) for value in values])
    return line.getvalue()


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return several lines."""
    return "".join(map(csv_line, rows))
