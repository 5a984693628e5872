"""The numbers that describe one split of a token table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.arrow import as_numpy, in_one
from pipeline.tasks.task import LabelKind
from pipeline.text.tokens import UNLABELLED

_HISTOGRAM_STEP = 16


def summarise(
    tokens: pa.Table,
    label_kind: LabelKind,
    labels: Sequence[str],
    n_truncated: int,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Return what `tokens.json` says of a split, but for the digest of its file.

    `n_labelled` counts rows, or questions where rows are choices or windows, that have a label.
    `label_counts` has the rows of each label, or the words; labels that are numbers have
    `label_range` in its place, choices `n_questions`, and answers `n_unanswerable` too. Where word
    pieces are asked for, `n_targets` is how many.
    """
    lengths = as_numpy(in_one(tokens["input_ids"]).value_lengths())
    bins = Counter((lengths // _HISTOGRAM_STEP).tolist())
    n_labelled, described = _describe_labels(tokens, label_kind, labels)
    return {
        "n_rows": len(tokens),
        "n_distinct": len(set(tokens["key"].to_pylist())),
        "n_labelled": n_labelled,
        "n_truncated": n_truncated,
        **counts,
        "n_tokens": int(lengths.sum()),
        **described,
        "length_histogram": {
            f"{bin * _HISTOGRAM_STEP}-{(bin + 1) * _HISTOGRAM_STEP - 1}": bins[bin]
            for bin in sorted(bins)
        },
    }


def _describe_labels(
    tokens: pa.Table, label_kind: LabelKind, labels: Sequence[str]
) -> tuple[int, dict[str, Any]]:
    column = in_one(tokens["label"])
    if label_kind == "number":
        numbers = as_numpy(column)
        numbers = numbers[~np.isnan(numbers)]
        found = {"min": numbers.min, "mean": numbers.mean, "max": numbers.max}
        return len(numbers), {
            "label_range": {
                name: float(value()) if len(numbers) else None for name, value in found.items()
            }
        }
    if label_kind == "choice":
        numbers = as_numpy(column)
        n_questions = int(pc.sum(pc.equal(tokens["choice"], 0)).as_py() or 0)
        return int((numbers == 1).sum()), {"n_questions": n_questions}
    if label_kind in ("masked", "target_text"):
        n_targets = as_numpy(column.value_lengths())
        return int((n_targets > 0).sum()), {"n_targets": int(n_targets.sum())}
    if label_kind == "answers":
        answers = tokens["answers"].filter(pc.equal(tokens["window"], 0))
        n_answers = pc.list_value_length(answers)
        return len(answers) - answers.null_count, {
            "n_questions": len(answers),
            "n_unanswerable": int(pc.sum(pc.equal(n_answers, 0)).as_py() or 0),
        }
    if label_kind == "name":
        counts = Counter(column.to_pylist())
        n_labelled = len(column) - counts[UNLABELLED]
    elif label_kind == "names":
        held = as_numpy(column.flatten()).reshape(-1, len(labels))
        n_labelled = int((held != UNLABELLED).all(1).sum())
        counts = Counter(dict(enumerate((held == 1).sum(0).tolist())))
    else:
        values = as_numpy(column.flatten())
        rows = np.repeat(np.arange(len(column)), as_numpy(column.value_lengths()))
        n_labelled = len(np.unique(rows[values >= 0]))
        counts = Counter(values.tolist())
    return n_labelled, {"label_counts": {name: counts[i] for i, name in enumerate(labels)}}
