"""What the quotes of a CSV or TSV file were meant for, where its rows alone do not say it.

A quote that is never closed swallows rows until another one happens to close it. Where all that is
left are rows with the right number of fields, only the swallowed lines show it: they look like rows
of the file. A file of one column gives no such sign.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.lines import split_lines

_N_ROWS_BY_SHAPE = 5
"""Lines that count as swallowed rows by their number of fields alone."""
_LEAST_COMMAS = 2
"""Quoted fields with a comma that show that Excel quotes those and no others."""
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WHOLE = re.compile('"(?:[^"]|"")*"')


def place_odd_quote(record: str, delimiter: str, *, is_padded: bool) -> tuple[int, int | None]:
    """Return where the first field opens whose closing quote is missing or not at its end.

    The second place is that of the quote that ends it; None if there is none. `is_padded` allows
    blanks before a field.
    """
    at = 0
    while True:
        while is_padded and record[at] == " ":
            at += 1
        opened = at
        if record[at] == '"':
            at = record.find('"', at + 1)
            while at >= 0 and record[at + 1 : at + 2] == '"':
                at = record.find('"', at + 2)
            if at < 0:
                return opened, None
            if record[at + 1 : at + 2] not in ("", delimiter, "\r", "\n"):
                return opened, at
        at = record.index(delimiter, at) + 1


def quotes_fields(records: Iterable[Sequence[str]]) -> bool | None:
    """Say whether whole fields are quoted, from records that were read as if no quote meant that.

    They are where the first record, the header, is; where some hold doubled quotes and no other
    field has a quote; where a whole column is; and where those with commas are and no others, as
    Excel does it. None where the records have different numbers of fields, and so cannot be what
    the file means.
    """
    n_records = n_with_comma = 0
    n_quoted: list[int] = []
    is_header_quoted = has_doubled = has_other_quote = has_other_comma = False
    for record in records:
        quoted = [_WHOLE.fullmatch(field) is not None for field in record]
        if not n_records:
            n_quoted = [0] * len(record)
            is_header_quoted = all(quoted)
        if len(record) != len(n_quoted):
            return is_header_quoted or None
        for column, field in enumerate(record):
            if quoted[column]:
                n_quoted[column] += n_records > 0
                n_with_comma += "," in field
                has_doubled |= '""' in field[1:-1]
            else:
                has_other_quote |= '"' in field
                has_other_comma |= "," in field
        n_records += 1
    if has_other_quote and not is_header_quoted:
        return False
    are_those_with_commas = n_with_comma >= max(_LEAST_COMMAS, sum(n_quoted)) and not (
        has_other_comma
    )
    is_column = n_records > 2 and n_records - 1 in n_quoted
    return is_header_quoted or has_doubled or are_those_with_commas or is_column


@dataclass(frozen=True)
class Swallowed:
    """A quoted field whose lines may be rows of their own."""

    row: int
    first_line: int
    """Where the quote opens the field."""
    lines: list[str]
    """Of the field, without their ends."""
    records: list[list[str]]
    """What the lines are, with the row's other fields, if no quote joins them."""


class QuotedRows:
    """Looks at the rows that go over several lines for a quote that joins them by mistake."""

    def __init__(self, n_columns: int, delimiter: str, *, is_padded: bool) -> None:
        self._n_columns = n_columns
        self._delimiter = delimiter
        self._is_padded = is_padded
        self._n_rows = 0
        self._suspects: list[Swallowed] = []

    def add(self, row: int, line: int, record: Sequence[str]) -> None:
        """Look at a row that begins with a line and goes on to another."""
        self._n_rows += 1
        if self._n_columns == 1:
            return
        for column, field in enumerate(record):
            lines = split_lines(field)
            if len(lines) > 1:
                between = [text for text in lines[1:-1] if text.strip()]
                records = [self._split(text) for text in (lines[0], *between, lines[-1])]
                records[0] = [*record[:column], *records[0]]
                records[-1] = [*records[-1], *record[column + 1 :]]
                if all(len(fields) == self._n_columns for fields in records):
                    self._suspects.append(Swallowed(row, line, lines, records))
            line += len(lines) - 1

    def _split(self, line: str) -> list[str]:
        fields = line.split(self._delimiter)
        return [field.strip(" \t") for field in fields] if self._is_padded else fields

    def first_swallowed(self, columns: Sequence[pa.ChunkedArray]) -> Swallowed | None:
        """Return the first field whose lines are rows; `columns` are those of the whole file.

        They are rows where in some column each has a value that another row has, or a number where
        all others have; or where there are five, and all rows of several lines look like that.
        """
        if not self._suspects:
            return None
        rows = {suspect.row for suspect in self._suspects}
        are_all_alike = len(rows) == self._n_rows
        is_other = np.ones(len(columns[0]), dtype=bool)
        is_other[sorted(rows)] = False
        fits = [_fit(column.filter(pa.array(is_other))) for column in columns]
        for suspect in self._suspects:
            # In prose a blank follows a comma, unless rows are written that way too.
            is_prose = any(field[:1] == " " for fields in suspect.records for field in fields[1:])
            by_shape = are_all_alike and len(suspect.records) >= _N_ROWS_BY_SHAPE
            by_value = any(
                all(fit(fields[column]) for fields in suspect.records)
                for column, fit in enumerate(fits)
                if column or not is_prose
            )
            if by_value or (by_shape and not is_prose):
                return suspect
        return None


def _fit(column: pa.ChunkedArray) -> Callable[[str], bool]:
    """Return what says whether a value is like those of a column, which is not empty."""
    values = set(pc.unique(column).to_pylist()) - {""}
    if values and all(map(_NUMBER.fullmatch, values)):
        return lambda value: _NUMBER.fullmatch(value) is not None
    return values.__contains__
