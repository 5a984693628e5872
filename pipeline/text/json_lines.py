"""JSON lines as a table whose types come from the whole file.

A value is what JSON says it is: text never becomes a date or a number. What is of different types
in different lines cannot be one column; that is an error where the column is used, and does not
matter where it is not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.lines import read_lines
from pipeline.text.source import with_faults

_BATCH_ROWS = 10_000
_MOST_PARTS = 1000
"""Names in the objects of a column, all lines together; more are the keys of a map."""
_LARGEST_EXACT = 2**53
"""Up to here a float holds every integer."""
_LARGEST = 2**63 - 1

_INTEGER, _LONG, _HUGE, _FRACTION = "a whole number", "a long whole number", "huge", "a fraction"
_TEXT, _BOOLEAN, _ARRAY, _OBJECT = "text", "true or false", "an array", "an object"
_KINDS = {str: _TEXT, bool: _BOOLEAN, float: _FRACTION, list: _ARRAY, dict: _OBJECT}
_TYPES = {
    frozenset[str](): pa.null(),
    frozenset((_TEXT,)): pa.string(),
    frozenset((_BOOLEAN,)): pa.bool_(),
    frozenset((_INTEGER,)): pa.int64(),
    frozenset((_LONG,)): pa.int64(),
    frozenset((_INTEGER, _LONG)): pa.int64(),
    frozenset((_FRACTION,)): pa.float64(),
    frozenset((_INTEGER, _FRACTION)): pa.float64(),
}
"""The type that holds values of these kinds. Arrays and objects go with nothing else."""

_Place = tuple[str | None, ...]
"""Names from the outside in; None stands for the items of an array."""


def read_json_lines(path: Path) -> pa.Table:
    """Read a file with one JSON object on each line that is not blank.

    What a line lacks is null there, and so is NaN. Numbers become 64-bit integers, or floats where
    some have a fraction.

    Raises:
        DataError: a line that is no JSON object, has a name twice, or holds text that is not
            Unicode, with the line.

    Cost: about 5 s for a million short rows, and the memory of 10,000 of them beside the table.
    """
    shape = _Shape()
    chunks: list[pa.StructArray] = []
    lines = _read_objects(path)
    while batch := list(islice(lines, _BATCH_ROWS)):
        rows = [row for _, row in batch]
        shape.add(rows, most_parts=None)
        try:
            chunks.append(pa.array(rows, _type_of(shape, {})))
        except UnicodeEncodeError:
            raise _half_a_character(path, batch) from None
    if not chunks:
        raise DataError(f"{path} is empty. Each of its lines must be a JSON object.")
    conflicts: dict[_Place, set[str]] = {}
    whole = _type_of(shape, conflicts)
    assert whole is not None, "all rows are objects"
    chunks = [chunk if chunk.type == whole else chunk.cast(whole) for chunk in chunks]
    columns = {
        name: pa.chunked_array(
            [  # what cannot be read is listed among the columns too
                pa.nulls(len(chunk)) if whole.get_field_index(name) < 0 else chunk.field(name)
                for chunk in chunks
            ]
        )
        for name in shape.parts
    }
    return with_faults(pa.table(columns), _describe(path, conflicts))


def _read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line that is not blank."""
    decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).raw_decode
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            value, end = decode(text)
            if end < len(text):
                raise ValueError(f"something follows its value at character {end + 1}")
            if type(value) is not dict:
                raise ValueError(f"it is {_kind(value)}")
        except (ValueError, RecursionError) as error:
            reason: object = error
            if isinstance(error, json.JSONDecodeError):
                reason = f"{error.msg} at character {error.pos + 1}"
            is_document = text[0] == "[" or text == "{"
            raise DataError(
                f"{path}, line {number} is not a JSON object: {reason}. "
                + (
                    "The file looks like a single JSON document; write each row as an object on a "
                    "line of its own."
                    if is_document
                    else "Correct it, or remove the line; each line holds one whole object."
                )
            ) from None
        yield number, value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has '{twice}' twice")
    return found


def _constant(name: str) -> float | None:
    """Return null for NaN, which many programs write in its place, and else an infinity."""
    return None if name == "NaN" else float(name)


def _kind(value: Any) -> str:
    if type(value) is int:
        size = abs(value)
        return _INTEGER if size <= _LARGEST_EXACT else _LONG if size <= _LARGEST else _HUGE
    return "null" if value is None else _KINDS[type(value)]


class _Shape:
    """What the values at one place of all objects are."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.parts: dict[str, _Shape] = {}
        """Of objects, by name."""
        self.items: _Shape | None = None
        """Of arrays."""

    def add(self, values: Sequence[Any], most_parts: int | None = _MOST_PARTS) -> None:
        """Note what more values are; the names of objects only until there are too many."""
        types = set(map(type, values))
        self.kinds |= {_KINDS[found] for found in types & _KINDS.keys()}
        if int in types:
            integers = [value for value in values if type(value) is int]
            self.kinds |= {_kind(min(integers)), _kind(max(integers))}
        if list in types:
            self.items = self.items or _Shape()
            arrays = [value for value in values if type(value) is list]
            self.items.add([item for array in arrays for item in array])
        if dict in types and (most_parts is None or len(self.parts) <= most_parts):
            held: dict[str, list[Any]] = {}
            for value in values:
                if type(value) is dict:
                    for name, part in value.items():
                        held.setdefault(name, []).append(part)
            for name, parts in held.items():
                self.parts.setdefault(name, _Shape()).add(parts)


def _type_of(
    shape: _Shape, conflicts: dict[_Place, set[str]], place: _Place = ()
) -> pa.DataType | None:
    """Return the type of all values of a shape, without parts that have none.

    What they are instead is added to `conflicts`.
    """
    kinds = frozenset(shape.kinds)
    found: pa.DataType | None = _TYPES.get(kinds)
    if kinds == {_ARRAY}:
        assert shape.items is not None
        items = _type_of(shape.items, conflicts, (*place, None))
        return None if items is None else pa.list_(items)
    if kinds == {_OBJECT} and (not place or len(shape.parts) <= _MOST_PARTS):
        types = {
            name: _type_of(part, conflicts, (*place, name)) for name, part in shape.parts.items()
        }
        return pa.struct([(name, kind) for name, kind in types.items() if kind is not None])
    if found is None:
        conflicts[place] = shape.kinds
    return found


def _describe(path: Path, conflicts: Mapping[_Place, set[str]]) -> dict[str, str]:
    """Return a message for each conflict, by the column's name with dots before its parts."""
    lines: dict[_Place, dict[str, int]] = {place: {} for place in conflicts}
    for number, row in _read_objects(path) if conflicts else ():
        for place, kinds in conflicts.items():
            if len(lines[place]) < len(kinds):
                for value in _values_at(row, place):
                    if (kind := _kind(value)) in kinds:
                        lines[place].setdefault(kind, number)
        if all(len(lines[place]) == len(kinds) for place, kinds in conflicts.items()):
            break
    messages = {}
    for place, found in lines.items():
        name = ".".join(part for part in place if part is not None)
        what = f"an item of '{name}'" if None in place else f"'{name}'"
        if _HUGE in found:
            reason = (
                f"line {found[_HUGE]}: {what} is a whole number of more than 64 bits. Write it as "
                "text, in quotes, in every line."
            )
        elif found.keys() == {_OBJECT}:
            reason = (
                f"line {found[_OBJECT]}: {what} is an object, and such objects have more than "
                f"{_MOST_PARTS:,} different names. Write what is to be used as a column."
            )
        else:
            one, other = next(
                pair for pair in combinations(found, 2) if frozenset(pair) not in _TYPES
            )
            reason = (
                f"line {found[other]}: {what} is {other}, but {one} in line {found[one]}. Write it "
                "in one way in every line."
            )
        messages[name] = f"{path}, {reason}"
    return messages


def _values_at(value: Any, place: _Place) -> Iterator[Any]:
    if not place:
        yield value
    elif place[0] is None:
        for item in value if isinstance(value, list) else ():
            yield from _values_at(item, place[1:])
    elif isinstance(value, dict) and place[0] in value:
        yield from _values_at(value[place[0]], place[1:])


def _half_a_character(path: Path, batch: Sequence[tuple[int, Any]]) -> DataError:
    for number, row in batch:
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            code = ord(error.object[error.start])
            return DataError(
                f"{path}, line {number}: \\u{code:04x} is half of a character, so that the text is "
                "not Unicode. Take it out, or remove the line."
            )
    raise AssertionError("all rows can be encoded")
