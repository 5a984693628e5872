"""CoNLL's text format: a word and its columns on a line, a blank line between sentences."""

import re
from pathlib import Path

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.lines import read_text

_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile("[ \t]+")  # not every white space: some of it is a part of words


def read_conll(path: Path) -> pa.Table:
    """Read a sentence as a row; its columns are lists of strings, called `0`, `1` and so on.

    Columns are separated by tabs where a line has one, else by spaces. Lines that begin with
    -DOCSTART- are no words.

    Raises:
        DataError: no words, or lines with different numbers of columns.
    """
    sentences: list[list[list[str]]] = [[]]
    n_columns = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.strip(" \t\r")
        if not line:
            sentences.append([])
            continue
        if line.startswith(_DOCUMENT):
            continue
        values = line.split("\t") if "\t" in line else _SPACES.split(line)
        n_columns = n_columns or len(values)
        if len(values) != n_columns:
            raise DataError(
                f"{path}, line {number}: {len(values)} columns, the lines before have {n_columns}. "
                "Correct the line, or separate the columns by tabs."
            )
        sentences[-1].append(values)
    if not n_columns:
        raise DataError(f"{path} cannot be read as CONLL: it has no words")
    kept = [sentence for sentence in sentences if sentence]
    return pa.table(
        {
            str(column): pa.array(
                [[values[column] for values in sentence] for sentence in kept],
                pa.list_(pa.string()),
            )
            for column in range(n_columns)
        }
    )
