"""Edits of params.yaml as text, so that comments, order and all other lines stay.

A student is put behind the last one as lines of its own. What stands on a line already is
changed by a round trip through ruamel.yaml.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_params


def round_trip() -> YAML:
    """Return a reader and writer of YAML that keeps comments, quotes and long lines."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 2**16  # no line is broken
    return yaml


def lines_of(params: CommentedMap, section: str, n_lines: int) -> tuple[int, int]:
    """Return the lines from a section's name to the next section, or to the end."""
    names = list(params)
    following = names[names.index(section) + 1 :]
    stop = params.lc.key(following[0])[0] if following else n_lines
    return params.lc.key(section)[0], stop


def student_lines(name: str, settings: Mapping[str, Any]) -> list[str]:
    """Return a student as lines for params.yaml: a line for each of its innermost mappings."""
    yaml = round_trip()
    yaml.default_flow_style = None
    file = io.StringIO()
    yaml.dump({name: dict(settings)}, file)
    return file.getvalue().splitlines()


def with_students(
    text: str, lines: Sequence[str], students: Mapping[str, Any], by_hand: str
) -> str:
    """Return the text of params.yaml with students added behind the last one.

    `lines` are those of `students` with the names in the first column; `by_hand` says what to
    add otherwise, where the students stand in one line and none can be put behind them.

    Raises:
        SettingsError: the file is written so that none can be added.
    """
    before = parse_params(text)["students"]
    old = text.splitlines()
    at, column = _end_of_students(text)
    old[at:at] = textwrap.indent("\n".join(lines), " " * column).splitlines()
    changed = "\n".join(old) + "\n"
    if not _has_students(changed, {**before, **students}):
        raise SettingsError(
            [
                "params.yaml: its students are not written one below the other, so that none can "
                f"be added; {by_hand}"
            ]
        )
    return changed


def _end_of_students(text: str) -> tuple[int, int]:
    """Return the number of the line behind the last student, and the students' column."""
    params, lines = YAML().load(text), text.splitlines()
    _, stop = lines_of(params, "students", len(lines))
    while not lines[stop - 1].strip() or lines[stop - 1].startswith("#"):
        stop -= 1
    return stop, params["students"].lc.col


def _has_students(text: str, expected: Mapping[str, Any]) -> bool:
    try:
        return bool(parse_params(text)["students"] == expected)
    except SettingsError:  # it is not even YAML
        return False
