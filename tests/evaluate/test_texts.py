"""Answers to questions as texts: kept in a file, scored from it again, shown in the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evaluate.predictions import question_rows, write_predictions, write_texts_file
from pipeline.metrics.scores import score
from pipeline.report.examples import table_texts
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import Predictions, predictions_of
from pipeline.text.tokens import TokenSplit
from tests.metrics.conftest import make_split  # noqa: F401  # a fixture
from tests.metrics.made_windows import MakeSplit
from tests.squad_scores import exact_match, f1

TASK = TASKS["question_answering"]
LONG = "the film was a bit warm and the plot was dull"
"""In rows of twelve tokens, two windows."""


@pytest.fixture
def split(make_split: MakeSplit) -> TokenSplit:  # noqa: F811
    texts = [LONG, "the film", "a plot", "the film was dull"]
    return make_split(texts, [["bit warm", "warm"], None, [], ["film"]])


def answers(split: TokenSplit, seed: int) -> Predictions:
    """Return the answers of a model that gives random logits."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(split.input_ids), 2)).astype(np.float32)
    return predictions_of(logits, split, TASK, ("start", "end"))


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
    return rows


@pytest.mark.parametrize("seeds", [(0, 1), (2, 3), (4, 5)])
def test_scores_can_be_counted_again(
    split: TokenSplit, seeds: tuple[int, int], tmp_path: Path
) -> None:
    """Catches answers of another question or model, one accepted answer of several, and windows
    that are counted as questions."""
    both = [answers(split, seed) for seed in seeds]
    write_texts_file(tmp_path / "test-texts.arrow", split, *both)
    rows = read(tmp_path / "test-texts.arrow")
    assert [row["number"] for row in rows] == [0, 2, 3]  # nobody knows of the second question
    first_rows = question_rows(split)
    assert len(first_rows) == 4 < len(split)
    assert [row["row"] for row in rows] == first_rows[[0, 2, 3]].tolist()
    assert [row["references"] for row in rows] == [["bit warm", "warm"], [], ["film"]]
    assert {row["text"] for row in rows} == {"was it"}
    for who, own in zip(("student", "teacher"), both, strict=True):
        scores = score(TASK.metrics, own)
        counted = [f1(row[who], row["references"]) for row in rows]
        assert scores["answer_f1"] == pytest.approx(np.mean(counted), abs=1e-12)
        exact = [exact_match(row[who], row["references"]) for row in rows]
        assert scores["answer_exact_match"] == np.mean(exact)


def test_a_window_without_the_answer_is_none_without_an_answer(
    split: TokenSplit, tmp_path: Path
) -> None:
    """Catches 'no answer' as the label of a question that has one, in another window."""
    write_predictions(tmp_path / "test.arrow", split, answers(split, 0), answers(split, 1))
    rows = read(tmp_path / "test.arrow")
    labels = {(row["row"], row["label_token"]) for row in rows if row["place"] == 0}
    first = question_rows(split).tolist()
    assert (first[0] + 1, "not in this window") in labels
    assert (first[1], None) in labels
    assert (first[2], "no answer") in labels


def example(student: str, teacher: str | None, *references: str) -> dict[str, Any]:
    return {"text": "a", "references": references, "student": student, "teacher": teacher}


def test_the_texts_that_differ_most_come_first() -> None:
    """Catches equal texts as differences, and an order that has nothing to do with them."""
    rows = [
        example("one two three", "one two four", "one two four"),
        example("equal", "equal", "other"),
        example("", "film", "film"),
        example("two one", "one two", "two one"),
    ]
    table = table_texts(pa.Table.from_pylist(rows), "kd-3")
    assert table is not None
    found = [[(cell.text, "wrong" in cell.style) for cell in row.cells[2:]] for row in table.rows]
    assert found == [
        [("film", False), ("no answer", True)],
        [("one two four", False), ("one two three", True)],
        [("one two", True), ("two one", False)],
    ]
    assert table_texts(pa.Table.from_pylist(rows[1:2]), "kd-3") is None


def test_without_the_teachers_texts_the_right_ones_are_compared() -> None:
    """Catches a student that is compared with nothing."""
    rows = [example("one two", None, "one two"), example("one", None, "two")]
    table = table_texts(pa.Table.from_pylist(rows), "kd-3")
    assert table is not None
    (row,) = table.rows
    assert [cell.text for cell in row.cells] == ["a", "two", "–", "one"]
