"""The console's own decisions: cells of a file, and fields of a form."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.pages.console.campaign_routes import BadField, terms_of
from earlybird.pages.console.csv_file import csv_lines

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.from_regex(r"[=+@\t\r-].*", fullmatch=True)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=4), max_size=4))
def test_no_cell_is_run_by_a_spreadsheet_and_nothing_is_lost(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_lines(rows), newline="")))
    assert len(read) == len(rows)
    for cells, sent in zip(read, rows, strict=True):
        for cell, text in zip(cells, sent, strict=True):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell in {text, f"'{text}"}


def test_a_form_is_read_as_it_was_meant_or_refused_by_the_name_of_the_field() -> None:
    form = {"name": " Launch ", "discount": "30", "currency": "", "starts_at": "2026-12-01T09:00", "step": "x"}
    assert terms_of(form) == {"name": "Launch", "discount": 30, "starts_at": "2026-12-01T09:00:00Z"}
    for bad in ("3.5", "-1", "ten", "１２", "9" * 16):
        with pytest.raises(BadField, match="discount"):
            terms_of({"discount": bad})
