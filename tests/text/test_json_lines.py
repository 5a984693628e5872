"""JSON lines: types of the whole file, text that stays text, and errors with their line."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.text.files import read_table
from pipeline.text.source import Source, fault_of

LATE = 25_000
"""Rows before a value that shows a column's type: more than are read at once."""


def write(path: Path, *rows: Any) -> Path:
    """Write each row on a line; texts are lines as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that a test writes."""
    return tmp_path / "train.jsonl"


def column(path: Path, name: str) -> pa.ChunkedArray:
    """Return a column, or a part of one, as `prepare` asks for it."""
    return Source(read_table(path), path.name).column("text", name)


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (None, "text"),
        (None, 7),
        ([], ["B-ART"]),
        ([None], ["B-ART", None]),
        (1, 2.5),
        ([1], [0.5]),
        ({}, {"en": "a"}),
        ({"en": "a"}, {"de": "b"}),
        ({"en": None}, {"en": {"deep": [{"er": "2021-01-10"}]}}),
        ([{"text": "a"}], [{"text": "b", "start": 3}]),
        ([[]], [["a"], []]),
        (None, ["2021-01-10"]),
        ({"text": [], "start": []}, {"text": ["2021-01-10"], "start": [3]}),
    ],
)
def test_types_come_from_the_whole_file(path: Path, early: Any, late: Any) -> None:
    """Catches a type taken from the first rows, which later rows do not have."""
    write(path, *[{"a": early}] * LATE, {"a": late}, {})
    values = column(path, "a").to_pylist()
    assert len(values) == LATE + 2
    whole = pa.array([early, late]).to_pylist()  # with null for parts that one of them lacks
    assert [values[0], values[LATE], values[LATE + 1]] == [*whole, None]


@pytest.mark.parametrize(
    "text", ["2021-01-10", "2021-01-10T10:00:00Z", "2021-01-10 10:00:00", "10:00", "1.50", "007"]
)
@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("{}", None),
        (["{}"], None),
        ({"en": "{}"}, "en"),
        ({"en": {"us": "{}"}}, "en.us"),
        ({"text": ["{}"]}, "text"),
        ([{"text": "{}", "more": [{"a": ["{}"]}]}], None),
    ],
)
def test_text_stays_text(path: Path, text: str, row: Any, part: str | None) -> None:
    """Catches a date or number that is made of text anywhere in a row."""
    made = json.loads(json.dumps(row).replace("{}", text))
    write(path, *[{"a": made}] * 3)
    assert read_table(path)["a"].to_pylist() == [made] * 3
    if part is not None:
        assert text in str(column(path, f"a.{part}").to_pylist())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (1, "1", "'a' is text, but a whole number in line 1"),
        ("x", ["x"], "'a' is an array, but text in line 1"),
        ("x", {"b": "x"}, "'a' is an object, but text in line 1"),
        (True, 1, "'a' is a whole number, but true or false in line 1"),
        (["x"], [1], "an item of 'a' is a whole number, but text in line 1"),
        ([["x"]], ["x"], "an item of 'a' is text, but an array in line 1"),
        ({"b": 1}, {"b": "x"}, "'a.b' is text, but a whole number in line 1"),
        ([{"b": 1}], [{"b": "x"}], "an item of 'a.b' is text, but a whole number in line 1"),
        (2**53 + 1, 0.5, "'a' is a fraction, but a long whole number in line 1"),
        (1, 2**63, "'a' is a whole number of more than 64 bits"),
    ],
)
def test_types_that_differ_are_refused_with_their_lines(
    path: Path, one: Any, other: Any, message: str
) -> None:
    """Catches values that become null or text because another line has another type."""
    write(path, *[{"a": one, "text": "t"}] * 12_000, {"a": None}, {"a": other})
    with pytest.raises(DataError) as caught:
        column(path, "a")
    assert str(caught.value).startswith(f"{path}, line 12002: {message}")
    assert "data.columns.text is 'a'" in str(caught.value)


def test_types_that_differ_do_not_matter_elsewhere(path: Path) -> None:
    """Catches a file refused for notes that nothing reads, or that a test file seems to lack."""
    rows = [
        {"text": "a", "id": 1, "meta": {"note": 1, "label": "x"}, "tags": [1]},
        {"text": "b", "id": "2", "meta": {"note": "n", "label": "y"}, "tags": ["t"]},
    ]
    write(path, *rows)
    table = read_table(path)
    assert table.column_names == ["text", "id", "meta", "tags"]
    assert column(path, "text").to_pylist() == ["a", "b"]
    assert column(path, "meta.label").to_pylist() == ["x", "y"]
    for name in ("id", "tags", "meta.note", "meta"):
        assert Source(table, "").has(name)
        with pytest.raises(DataError, match="Write it in one way in every line"):
            column(path, name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": }', r"line 3 is not a JSON object: Expecting value at character 7\. Correct it"),
        ('{"a": "x"', r"line 3 is not a JSON object: Expecting ',' delimiter at character 10"),
        ('{"a": 1},', r"line 3 .*: something follows its value at character 9"),
        ('{"a": 1} {"a": 2}', r"line 3 .*: something follows its value at character 9"),
        ('{"a": 1, "a": 2}', r"line 3 .*: it has 'a' twice"),
        ('{"a": {"b": 1, "b": 2}}', r"line 3 .*: it has 'b' twice"),
        ('["a"]', r"line 3 .*: it is an array\."),
        ('"a"', r"line 3 .*: it is text\."),
        ("null", r"line 3 .*: it is null\."),
        ('{"a": "\\ud83d"}', r"line 3: \\ud83d is half of a character"),
        ('{"a": ' + "1" * 5000 + "}", r"line 3 is not a JSON object: Exceeds the limit"),
        ('{"a": ' + "[" * 100_000, r"line 3 is not a JSON object: maximum recursion depth"),
        ("a\tb", r"line 3 is not a JSON object: Expecting value at character 1"),
    ],
)
def test_a_bad_line_is_named(path: Path, line: str, message: str) -> None:
    """Catches a traceback, a value that is dropped, and a number that is not the file's line."""
    write(path, '{"a": "x"}', "", line, '{"a": "y"}')
    with pytest.raises(DataError, match=rf"train\.jsonl, {message}") as caught:
        read_table(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content", ['[{"a": 1}, {"a": 2}]', '[\n  {"a": 1}\n]', '{\n  "data": [{"a": 1}]\n}']
)
def test_one_document_is_not_json_lines(path: Path, content: str) -> None:
    """Catches a JSON file with another ending read as one row, or refused without the reason."""
    message = r"line 1 is not .*\. The file looks like a single JSON document; write each row as"
    with pytest.raises(DataError, match=message):
        read_table(write(path, content))


def test_what_json_writers_do_is_read(path: Path) -> None:
    """Catches good lines refused: NaN for nothing, blank lines, escapes, big numbers, no end."""
    content = (
        '\ufeff{"a": NaN, "n": 9223372036854775807, "i": -Infinity}\r\n\r\n \t\n'
        ' {"a":"\\ud83d\\ude00\\u0000"} '
    )
    path.write_text(content, encoding="utf-8")
    table = read_table(path)
    assert table["a"].to_pylist() == [None, "😀\0"]
    assert table["n"].to_pylist() == [2**63 - 1, None]
    assert table["i"].to_pylist() == [-math.inf, None]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_refused(path: Path, content: str) -> None:
    """Catches a table without columns, which would be said to lack one."""
    with pytest.raises(DataError, match=r"train\.jsonl is empty\. Each of its lines must be"):
        read_table(write(path, content) if content else write(path))


def test_objects_with_other_names_in_each_line_are_no_columns(path: Path) -> None:
    """Catches memory that grows with the square of the rows, where an object is a map."""
    write(path, *({"text": "t", "votes": {f"user {n}": 1}} for n in range(3000)))
    assert column(path, "text").to_pylist() == ["t"] * 3000
    with pytest.raises(DataError, match=r"line 1: 'votes' is an object, and such .* 1,000 differ"):
        column(path, "votes")


def test_a_long_line_is_read(path: Path) -> None:
    """Catches a row of more than a megabyte refused, or cut."""
    text = "word " * 500_000
    assert column(write(path, {"a": "b"}, {"a": text}), "a").to_pylist() == ["b", text]


def test_a_part_of_nothing_is_nothing(path: Path) -> None:
    """Catches a column refused because no row of this split has anything in it."""
    assert column(write(path, {"a": None, "b": 1}), "a.text").to_pylist() == [None]


Leaves = st.none() | st.text(st.sampled_from("a2-é")) | st.just("2021-01-10")
Values = st.recursive(
    st.text(st.sampled_from("a2-é")),
    lambda inner: st.lists(inner, max_size=2) | st.fixed_dictionaries({"x": inner, "y": inner}),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=Values, other=Leaves)
def test_rows_are_read_as_json_reads_them(tmp_path: Path, value: Any, other: Any) -> None:
    """Catches any value that comes back changed."""
    rows = [{"a": value, "b": other}, {"a": value, "b": None}]
    found = write(tmp_path / "train.jsonl", *rows)
    table = read_table(found)
    fault = fault_of(table, "a")
    assert table.to_pylist() == rows if fault is None else "an item of 'a" in fault
