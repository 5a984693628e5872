"""Which rows of a token table a store has, split by split, before anything is computed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.signals.signal import Array
from pipeline.store.reader import TeacherStore
from pipeline.store_tools.summary import format_table
from pipeline.text.tokens import Tokens

_N_SHOWN = 3


@dataclass(frozen=True)
class SplitCoverage:
    """What a store has of one split."""

    n_rows: int
    n_found: int
    missing: tuple[str, ...]
    """The first texts that it lacks."""


@dataclass(frozen=True)
class TableCoverage:
    """What a store has of a token table."""

    splits: dict[str, SplitCoverage]
    n_distinct_missing: int
    """Rows that a capture has to compute: each content once."""
    absent_arrays: tuple[str, ...]
    """Arrays that are asked for, and that some or all of its rows do not have."""

    def document(self) -> dict[str, Any]:
        """Return this as JSON, with stable keys."""
        return {
            "format": "decant-coverage",
            "format_version": 1,
            "splits": {
                name: {"n_rows": split.n_rows, "n_found": split.n_found}
                for name, split in self.splits.items()
            },
            "n_distinct_missing": self.n_distinct_missing,
            "absent_arrays": list(self.absent_arrays),
        }


def cover(store: TeacherStore, tokens: Tokens, arrays: Iterable[Array]) -> TableCoverage:
    """Look up every row of `tokens` by key; nothing but the row tables is read."""
    splits, lacking = {}, [np.empty(0, "S16")]
    for name, split in tokens.splits.items():
        missing = store.coverage(split.keys).missing
        lacking.append(split.keys[missing].view("S16"))
        texts = [split.table["text"][int(row)].as_py() for row in missing[:_N_SHOWN]]
        splits[name] = SplitCoverage(len(split), len(split) - len(missing), tuple(texts))
    names = {array.name for array in arrays}
    return TableCoverage(
        splits, len(np.unique(np.concatenate(lacking))), tuple(sorted(names - store.array_names()))
    )


def describe_coverage(coverage: TableCoverage) -> str:
    """Return a coverage as text for people."""
    table = [("split", "rows", "found", "missing")]
    table += [
        (name, f"{split.n_rows:,}", f"{split.n_found:,}", f"{split.n_rows - split.n_found:,}")
        for name, split in coverage.splits.items()
    ]
    lines = format_table(table)
    for name, split in coverage.splits.items():
        lines += [f"missing of {name}: {text[:80]}" for text in split.missing]
    if coverage.absent_arrays:
        lines.append(f"asked for, and not in all of its rows: {', '.join(coverage.absent_arrays)}")
    n_missing = coverage.n_distinct_missing
    if n_missing:
        lines.append(f"'dvc repro capture' computes the {n_missing:,} distinct rows that it lacks")
    elif not coverage.absent_arrays:
        lines.append("every row is there: no teacher is needed")
    return "\n".join(lines)
