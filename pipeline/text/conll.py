"""CoNLL's text format: a word and its columns on a line, a blank line between sentences."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.lines import read_text

_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile("[ \t]+")  # not every white space: some of it is a part of words
_COMMENT = re.compile("#[ \t]")
_NUMBER = re.compile(r"(?P<word>\d+)(?P<other>[-.]\d+)?")
"""What CoNLL-U numbers words with: `3`; `3-4` for what two are written as, `3.1` for one that is
not written at all."""


class _Line(NamedTuple):
    number: int
    text: str
    values: list[str]

    @property
    def is_marked(self) -> bool:
        """Whether it may be a comment; a word `#` begins a line in the same way."""
        return self.text.startswith("#")


def read_conll(path: Path) -> pa.Table:
    """Read a sentence as a row; its columns are lists of strings, called `0`, `1` and so on.

    Columns are separated by tabs where a line has one, else by spaces. A line that begins with
    -DOCSTART- is no word and ends a sentence. A line above a sentence that begins with `# ` is a
    comment, unless it has as many columns as the words and their values. Where the first column
    numbers the words of each sentence, as in CoNLL-U, every line with `#` is a comment, and lines
    numbered `3-4` or `3.1` are left out.

    Raises:
        DataError: no words, or lines with different numbers of columns.
    """
    sentences = _sentences(path)
    first = next((line for lines in sentences for line in lines if not line.is_marked), None)
    n_columns = len((first or sentences[0][0]).values) if sentences else 0
    if not n_columns:
        raise DataError(f"{path} cannot be read as CONLL: it has no words")
    seen = _values(sentences, n_columns)
    is_numbered = first is not None and n_columns > 1 and _are_numbered(sentences)
    kept: list[list[list[str]]] = []
    for sentence in sentences:
        words: list[list[str]] = []
        for line in sentence:
            if line.is_marked and (is_numbered or (not words and _is_comment(line, seen))):
                continue
            _check_columns(line, n_columns, path)
            if not (is_numbered and _is_no_word(line)):
                words.append(line.values)
        if words:
            kept.append(words)
    if not kept:
        raise DataError(f"{path} cannot be read as CONLL: it has no words")
    return pa.table(
        {
            str(column): pa.array(
                [[values[column] for values in sentence] for sentence in kept],
                pa.list_(pa.string()),
            )
            for column in range(n_columns)
        }
    )


def _sentences(path: Path) -> list[list[_Line]]:
    """Return the lines of each sentence, and those above it."""
    sentences: list[list[_Line]] = [[]]
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        text = line.strip(" \t\r")
        if not text or text.startswith(_DOCUMENT):
            sentences.append([])
            continue
        values = text.split("\t") if "\t" in text else _SPACES.split(text)
        sentences[-1].append(_Line(number, text, values))
    return [lines for lines in sentences if lines]


def _values(sentences: Sequence[Sequence[_Line]], n_columns: int) -> list[set[str]]:
    """Return the values of each column but the first, of lines that cannot be comments."""
    seen: list[set[str]] = [set() for _ in range(n_columns - 1)]
    for lines in sentences:
        for line in lines:
            if not line.is_marked:
                for values, value in zip(seen, line.values[1:], strict=False):
                    values.add(value)
    return seen


def _is_comment(line: _Line, seen: Sequence[set[str]]) -> bool:
    """Say whether a line above a sentence is none of its words.

    A word `#` has as many columns as all others, and most hold what they hold elsewhere too.
    """
    if not _COMMENT.match(line.text):
        return False
    if len(line.values) != len(seen) + 1:
        return True
    n_known = sum(value in values for value, values in zip(line.values[1:], seen, strict=True))
    return 2 * n_known < len(seen)


def _are_numbered(sentences: Sequence[Sequence[_Line]]) -> bool:
    """Say whether the first column counts the words of each sentence."""
    for lines in sentences:
        last = -1
        for line in lines:
            if line.is_marked:
                continue
            found = _NUMBER.fullmatch(line.values[0])
            if found is None:
                return False
            if found["other"] is None:
                number = int(found["word"])
                if number <= last or (last < 0 and number > 1):
                    return False
                last = number
    return True


def _is_no_word(line: _Line) -> bool:
    found = _NUMBER.fullmatch(line.values[0])
    return found is not None and found["other"] is not None


def _check_columns(line: _Line, n_columns: int, path: Path) -> None:
    if len(line.values) == n_columns:
        return
    comment = ""
    if line.is_marked:
        comment = " A comment begins with '# ' and stands above a sentence."
    raise DataError(
        f"{path}, line {line.number}: {len(line.values)} columns, the lines before have "
        f"{n_columns}. Correct the line, or separate the columns by tabs.{comment}"
    )
