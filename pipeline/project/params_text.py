"""Edits of params.yaml as text, line by line, so that comments, order and all other lines stay.

A value is written anew on lines of its own; a student is put behind the last one. Every edit is
read again: where the file is written so that it did not succeed, it is refused.
"""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params

# What some reader of YAML takes for something else than text.
_NOT_TEXT = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def flow(value: Any) -> str:
    """Return a value in one line, as it may stand anywhere in params.yaml."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_word = re.fullmatch(r"(?:\.{0,2}/)*[A-Za-z][A-Za-z0-9_./-]*", value) is not None
    is_plain = is_word and value.lower() not in _NOT_TEXT
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def with_value(text: str, place: Sequence[str], value: Any, *, keeps_comment: bool = False) -> str:
    """Return the text of params.yaml with a value at `place`: names of sections, and its own.

    Sections that are missing are made. A comment behind an old value goes with it, unless
    `keeps_comment`.

    Raises:
        SettingsError: the file is written so that it cannot be changed.
    """
    *parents, key = place
    mapping = _mapping(text, parents)
    if parents and (not mapping or mapping.fa.flow_style()):
        whole = {**(mapping or {}), key: value}
        return with_value(text, parents, whole, keeps_comment=keeps_comment)
    column = mapping.lc.col if parents and mapping else 0
    if not parents and isinstance(value, Mapping):
        new = [f"{key}:", *(f"  {name}: {flow(item)}" for name, item in value.items())]
    else:
        new = [f"{' ' * column}{key}: {flow(value)}"]
    lines = text.splitlines()
    if mapping and key in mapping:
        start, stop = _block(mapping, key, lines)
        comment = re.search(r"\s+#.*", lines[start])
        if keeps_comment and comment and stop == start + 1:
            new[-1] += comment[0]
    else:
        start = stop = (
            _block(mapping, list(mapping)[-1], lines)[1] if parents and mapping else len(lines)
        )
    return _changed(text, lines[:start] + new + lines[stop:], place, value)


def without_value(text: str, place: Sequence[str]) -> str:
    """Return the text of params.yaml without the value at `place`, which must be there.

    Raises:
        SettingsError: the file is written so that it cannot be changed.
    """
    *parents, key = place
    mapping = _mapping(text, parents)
    assert mapping is not None
    rest = {name: value for name, value in mapping.items() if name != key}
    if mapping.fa.flow_style() or not rest:
        return with_value(text, parents, rest)
    lines = text.splitlines()
    start, stop = _block(mapping, key, lines)
    return _changed(text, lines[:start] + lines[stop:], parents, rest)


def with_section(text: str, name: str, section: Sequence[str]) -> str:
    """Return the text with other lines for a section; what stands before the next one stays."""
    lines = text.splitlines()
    start, stop = _block(YAML().load(text), name, lines)
    return "\n".join([*lines[:start], *section, *lines[stop:]]) + "\n"


def student_lines(name: str, settings: Mapping[str, Any], comment: str = "") -> list[str]:
    """Return a student as lines for params.yaml, from the first column on."""
    lines = [f"{name}:{comment and f' # {comment}'}"]
    for part, value in settings.items():
        if part == "objectives":
            lines.append(f"  {part}:")
            lines += [f"    {objective}: {flow(own)}" for objective, own in value.items()]
        else:
            lines.append(f"  {part}: {flow(value)}")
    return lines


def with_students(
    text: str, lines: Sequence[str], students: Mapping[str, Any], by_hand: str
) -> str:
    """Return the text of params.yaml with students added behind the last one.

    `lines` are those of `students` with the names in the first column; `by_hand` says what to
    add otherwise, where the students stand in one line and none can be put behind them.

    Raises:
        SettingsError: the file is written so that none can be added.
    """
    before, old = parse_params(text)["students"], text.splitlines()
    params = YAML().load(text)
    _, stop = _block(params, "students", old)
    indent = " " * params["students"].lc.col
    new = textwrap.indent("\n".join(lines), indent).splitlines()
    try:
        return _changed(text, old[:stop] + new + old[stop:], ["students"], {**before, **students})
    except SettingsError:
        raise SettingsError(
            "params.yaml: its students are not written one below the other, so that none can "
            f"be added; {by_hand}"
        ) from None


def _mapping(text: str, place: Sequence[str]) -> CommentedMap | None:
    found = YAML().load(text)
    for name in place:
        found = None if found is None else found.get(name)
    assert found is None or isinstance(found, CommentedMap)
    return found


def _block(mapping: CommentedMap, key: str, lines: Sequence[str]) -> tuple[int, int]:
    """Return the first line of a key and the line behind its value, without comments below it."""
    start, column = mapping.lc.key(key)
    stop = start + 1
    for number, line in enumerate(lines[start + 1 :], start + 1):
        is_content = bool(line.strip()) and not line.lstrip().startswith("#")
        if is_content and len(line) - len(line.lstrip()) <= column:
            break
        if is_content:
            stop = number + 1
    return start, stop


def _changed(text: str, lines: Sequence[str], place: Sequence[str], value: Any) -> str:
    """Return the lines as a text, if it differs from the old one in this value alone."""
    expected = parse_params(text)
    section = expected
    for name in place[:-1]:
        section[name] = section.get(name) or {}
        section = section[name]
    section[place[-1]] = value
    changed = "\n".join(lines) + "\n"
    try:
        is_right = parse_params(changed) == expected
    except SettingsError:  # it is not even YAML
        is_right = False
    if not is_right:
        raise SettingsError(
            "params.yaml: its sections are not written one below the other, so that "
            f"{'.'.join(place)} cannot be changed"
        )
    return changed
