"""CSV and TSV files as tables of text: read as their writer meant them, or refused with the line.

What is quoted follows RFC 4180: a quote that begins a field opens it, and within it two quotes
are one. In a TSV file a quote is a character like any other, as in GLUE's files, unless the file
itself shows that whole fields are quoted.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.text.lines import count_line_ends, read_lines, split_lines
from pipeline.text.quoting import QuotedRows, place_odd_quote, quotes_fields
from pipeline.text.source import quote_names

_BATCH_ROWS = 10_000
_LARGEST_FIELD = 2**31 - 1
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\w])"?', re.IGNORECASE)
"""What Excel reads, and some programs write, above the header."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_QUOTED_BEHIND_BLANKS = re.compile(' +".*"')
_N_CHARACTERS_SHOWN = 20
_REMEDY = (
    "Correct it there: a quoted field ends with a quote before the delimiter, and a quote that "
    'belongs to its text is doubled (""), not escaped by a backslash.'
)


@dataclass(frozen=True)
class _Dialect:
    """How a file writes its rows."""

    delimiter: str
    is_quoted: bool
    """Whether a quote at the start of a field opens it."""
    has_separator_line: bool
    is_padded: bool = False
    """Whether the names in the header have blanks around them; values may have them too then."""


def read_csv(path: Path) -> pa.Table:
    """Read a CSV file; every column is text.

    The header, or a line `sep=` above it, says what delimits fields: commas, or else semicolons,
    tabs or bars. Where names in the header have blanks around them, those around all values are
    dropped too.

    Raises:
        DataError: a row with another number of fields than the header, or a quote that opens a
            field and is not closed at its end, with the line.

    Cost: about 2 s for a million short rows, and the memory of 10,000 of them beside the table.
    """
    with _long_fields():
        return _read(path, _dialect(path, tuple(_DELIMITERS), is_csv=True))


def read_tsv(path: Path) -> pa.Table:
    """Read a TSV file; every column is text.

    Whole fields are quoted where `quotes_fields` finds that, and where the file can be read only
    so.

    Raises:
        DataError: as `read_csv`.
    """
    with _long_fields():
        dialect = _dialect(path, ("\t",), is_csv=False)
        quoted = replace(dialect, is_quoted=True)
        if dialect.is_quoted or not any('"' in line for line in read_lines(path)):
            return _read(path, dialect)
        are_quoted = quotes_fields(record for _, _, record in _records(path, dialect))
        if are_quoted is None:
            try:
                return _read(path, quoted)
            except DataError:
                are_quoted = False
        return _read(path, quoted if are_quoted else dialect)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the limit of the csv module, which refuses texts of more than 131,072 characters."""
    before = csv.field_size_limit(_LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _dialect(path: Path, delimiters: Sequence[str], *, is_csv: bool) -> _Dialect:
    """Return what the first lines say; the first delimiter is taken where it divides the header."""
    first = next(read_lines(path), "").rstrip("\r\n")
    found = _SEPARATOR_LINE.fullmatch(first)
    tried = [
        _Dialect(delimiter, is_csv or delimiter != "\t", found is not None)
        for delimiter in ((found[1],) if found else delimiters)
    ]
    headers = [_header(path, dialect) for dialect in tried]
    widths = [len(header) for header in headers]
    chosen = 0 if widths[0] > 1 else widths.index(max(widths))
    is_padded = any(name != name.strip(" \t") for name in headers[chosen])
    return replace(tried[chosen], is_padded=is_padded)


def _header(path: Path, dialect: _Dialect) -> list[str]:
    """Return the header's fields, none if its quotes are odd in this dialect."""
    try:
        return next((record for _, _, record in _records(path, dialect)), [])
    except DataError:
        return []  # raised again when the file is read, if this is its dialect


def _records(path: Path, dialect: _Dialect) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the first and last line of each record that is not blank, and its fields."""
    held: list[str] = []
    is_header, has_blank_before_quote = True, False
    lines = read_lines(path)
    last = 0
    if dialect.has_separator_line:
        next(lines)
        last = 1

    def hold() -> Iterator[str]:
        nonlocal has_blank_before_quote
        for line in lines:
            held.append(line)
            has_blank_before_quote |= ' "' in line
            yield line

    reader = csv.reader(
        hold(),
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_MINIMAL if dialect.is_quoted else csv.QUOTE_NONE,
        skipinitialspace=dialect.is_padded,
        strict=True,
    )
    try:
        for record in reader:
            first, last = last + 1, last + len(held)
            if has_blank_before_quote and dialect.is_quoted and not is_header:
                _check_blanks(path, first, "".join(held), record, dialect)
            has_blank_before_quote = False
            held.clear()
            if record:
                is_header = False
                yield first, last, record
    except csv.Error:
        raise _odd_quote(path, last + 1, "".join(held), dialect) from None


def _check_blanks(
    path: Path, line: int, written: str, record: Sequence[str], dialect: _Dialect
) -> None:
    """Refuse a field that keeps its quotes, because a blank stands before them."""
    for field in record[1:]:
        is_whole = _QUOTED_BEHIND_BLANKS.fullmatch(field)
        if is_whole and f"{dialect.delimiter}{field}" in written:
            raise DataError(
                f"{path}, line {line}: a blank stands before the quoted field '{_start(field)}', "
                "so that its quotes count as text. Take out the blanks behind delimiters, or put "
                "them in the header too."
            )


def _odd_quote(path: Path, line: int, record: str, dialect: _Dialect) -> DataError:
    """Return the error of a record, which begins with `line`, with an odd quote."""
    opened, closed = place_odd_quote(record, dialect.delimiter, is_padded=dialect.is_padded)
    found = (
        f"{path}, line {line + count_line_ends(record[:opened])}: the quote before "
        f"'{_start(record[opened + 1 :])}' opens a field that "
    )
    if closed is None:
        end = line + count_line_ends(record.rstrip("\r\n"))
        return DataError(f"{found}is still open at the end of the file, line {end}. {_REMEDY}")
    return DataError(
        f"{found}the next quote ends in line {line + count_line_ends(record[:closed])}, but "
        f"'{_start(record[closed + 1 :])}' follows there. {_REMEDY}"
    )


def _start(text: str) -> str:
    """Return the first characters of a text, to find it by."""
    line = split_lines(text if text[:1] == " " else text.strip())[0].rstrip()
    short = line[:_N_CHARACTERS_SHOWN]
    return short if short == line else f"{short}…"


def _read(path: Path, dialect: _Dialect) -> pa.Table:
    records = _records(path, dialect)
    _, _, header = next(records, (0, 0, []))
    if not header:
        raise DataError(f"{path} is empty. Its first line must name the columns.")
    names = [name.strip() for name in header]
    quoted_rows = QuotedRows(len(names), dialect.delimiter, is_padded=dialect.is_padded)
    batches: list[list[pa.Array]] = []
    rows: list[list[str]] = []
    for first, last, record in records:
        if len(record) != len(names):
            raise _wrong_width(path, (first, last), len(record), names, dialect)
        if first != last:
            quoted_rows.add(_BATCH_ROWS * len(batches) + len(rows), first, record)
        rows.append(record)
        if len(rows) == _BATCH_ROWS:
            batches.append(_columns(rows, len(names), dialect))
            rows = []
    batches.append(_columns(rows, len(names), dialect))
    columns = [pa.chunked_array(chunks) for chunks in zip(*batches, strict=True)]
    found = quoted_rows.first_swallowed(columns)
    if found is not None:
        n_lines = len(found.lines) - 1
        raise DataError(
            f"{path}, line {found.first_line}: the quote before '{_start(found.lines[0])}' opens "
            f"a field that goes on to line {found.first_line + n_lines}, but its lines look like "
            f"rows of their own, such as '{_start(found.lines[-1])}'. {_REMEDY} If it is one text "
            "all the same, write the file as JSON lines or Parquet."
        )
    return pa.Table.from_arrays(columns, names=names)


def _columns(rows: Sequence[Sequence[str]], n_columns: int, dialect: _Dialect) -> list[pa.Array]:
    values = zip(*rows, strict=True) if rows else ((),) * n_columns
    columns = [pa.array(column, pa.string()) for column in values]
    return [pc.utf8_trim(column, " \t") for column in columns] if dialect.is_padded else columns


def _wrong_width(
    path: Path, lines: tuple[int, int], width: int, names: Sequence[str], dialect: _Dialect
) -> DataError:
    """Return the error of a row with too few or too many fields."""
    first, last = lines
    place = f"line {first}" if first == last else f"lines {first} to {last}, joined by a quote"
    delimiters = _DELIMITERS.get(dialect.delimiter, f"'{dialect.delimiter}'")
    remedy = (
        f"Put double quotes around a text with {delimiters} or ends of lines in it."
        if dialect.is_quoted
        else "Take tabs and ends of lines out of the texts, or write the file as JSON lines."
    )
    fields = "1 field" if width == 1 else f"{width} fields"
    return DataError(
        f"{path}, {place}: {fields}, separated by {delimiters}, but the header has {len(names)}: "
        f"{quote_names(names)}. {remedy}"
    )
