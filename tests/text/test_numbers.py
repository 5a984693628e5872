"""Labels that are numbers: as exact as they are written, or refused."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.text.corpus import DataSettings, read_corpus
from tests.text.conftest import Write


def rows_of(labels: list[Any]) -> list[dict[str, Any]]:
    """Return a row for each label."""
    return [{"text": f"the film {number}", "label": label} for number, label in enumerate(labels)]


def test_numbers_are_floats(write_jsonl: Write) -> None:
    """Catches numbers that are rounded or made classes, and statistics over unlabelled rows."""
    written = write_jsonl("regression", rows_of([0.1, 5, None, -2.5]))
    assert written.tokens.labels == ("score",)
    split = written.tokens.splits["train"]
    assert split.labels.dtype == np.float64
    np.testing.assert_array_equal(split.labels, [0.1, 5.0, math.nan, -2.5])
    summary = written.summary["splits"]["train"]
    assert summary["n_labelled"] == 3
    assert summary["label_range"] == {"min": -2.5, "mean": (0.1 + 5 - 2.5) / 3, "max": 5.0}
    assert "label_counts" not in summary


def test_no_row_needs_a_number(write_jsonl: Write) -> None:
    """Catches a mean over nothing."""
    written = write_jsonl("regression", rows_of([1.0, 2.0]), rows_of([None, None]))
    summary = written.summary["splits"]["validation"]
    assert summary["n_labelled"] == 0
    assert summary["label_range"] == {"min": None, "mean": None, "max": None}


def read(folder: Path, labels: list[str], **columns: Any) -> list[float]:
    """Return the labels of a CSV file."""
    lines = ["text,label", *(f"t,{label}" for label in labels)]
    for name in ("train.csv", "dev.csv"):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = DataSettings.model_validate(
        {"source": "files", "path": str(folder), "columns": columns}
    )
    found: list[float] = (
        TASKS["regression"]
        .encode(read_corpus(settings, TASKS["regression"].read), ["score"], None)["train"]
        .to_pylist()
    )
    return found


def test_text_is_read_as_numbers(tmp_path: Path) -> None:
    """Catches an empty cell read as 0, and a mark for no label taken as a score."""
    found = read(tmp_path, ["1.50", "", "nan", "1e-3", "-1.0"], unlabelled="-1.0")
    np.testing.assert_array_equal(found, [1.5, math.nan, math.nan, 0.001, math.nan])


def test_a_mark_is_a_number_in_a_column_of_numbers(write_jsonl: Write) -> None:
    """Catches -1 that is no label in one file and a score in another, for being -1.0 there."""
    for mark in ("-1", "-1.0"):
        split = write_jsonl(
            "regression", rows_of([-1.0, 0.5]), columns={"unlabelled": mark}
        ).tokens.splits["train"]
        np.testing.assert_array_equal(split.labels, [math.nan, 0.5])


@pytest.mark.parametrize("label", ["inf", "-inf", "good", "1,5"])
def test_what_is_no_number_is_named(tmp_path: Path, label: str) -> None:
    """Catches a loss that is infinite from the first step, and a traceback."""
    shown = label.split(",")[0]
    expected = rf"train: the label of row 2 is '{shown}'; a regression needs finite numbers"
    if "," in label:
        label, expected = f'"{label}"', r"row 2 is '1,5'"
    with pytest.raises(DataError, match=expected):
        read(tmp_path, ["0.5", label])


def test_a_mark_is_a_number_in_a_column_of_text(tmp_path: Path) -> None:
    """Catches -1.0 that becomes a score in a CSV file where -1 says that there is none."""
    found = read(tmp_path, ["-1.0", "-1", " -1.00", "1"], unlabelled="-1")
    np.testing.assert_array_equal(found, [math.nan, math.nan, math.nan, 1.0])
    found = read(tmp_path, ["-1.0", "none", "1"], unlabelled="none")
    np.testing.assert_array_equal(found, [-1.0, math.nan, 1.0])


def test_integers_beyond_a_float_are_rounded(write_jsonl: Write) -> None:
    """Catches a traceback."""
    split = write_jsonl("regression", rows_of([2**60 + 1, 2])).tokens.splits["train"]
    np.testing.assert_array_equal(split.labels, [2.0**60, 2.0])


def test_a_test_split_of_minus_one_alone_has_no_labels(write_jsonl: Write) -> None:
    """Catches scores of -1, which hide the right ones, taken for these."""
    train, hidden = rows_of([0.0, 4.5]), rows_of([-1, -1])
    with pytest.raises(DataError, match=r"validation: each of the 2 labels is -1, .*unlabelled to"):
        write_jsonl("regression", train, hidden)
    marked = write_jsonl("regression", train, hidden, columns={"unlabelled": "-1"})
    assert not marked.tokens.splits["validation"].has_label.any()
    write_jsonl("regression", train, rows_of([-1, 0]))
    write_jsonl("regression", rows_of([-0.5, 4.5]), hidden)
