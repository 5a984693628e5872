"""The file of both models' predictions, and how a split's logits become predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.evaluate.predictions import write_predictions
from pipeline.metrics.scores import score
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import predictions_of
from pipeline.tasks.task import Kind
from pipeline.text.tokens import IGNORED, TokenSplit

TAGS = ("O", "B-PER", "I-PER")


def make_split(kind: Kind, rows: list[dict[str, Any]]) -> TokenSplit:
    """Return a split of these rows, each with its labels as a list, two tokens each."""
    labels = [row["labels"] for row in rows]
    first = [number for number, row in enumerate(rows) if row.get("choice", 0) == 0]
    table = pa.table(
        {name: [row.get(name) for row in rows] for name in ("text", "text_pair")},
        schema=pa.schema([("text", pa.string()), ("text_pair", pa.string())]),
    )
    lengths = [len(row["labels"]) if kind == "token_classification" else 2 for row in rows]
    return TokenSplit(
        keys=np.zeros(len(rows), dtype="V16"),
        offsets=np.cumsum([0, *lengths]),
        input_ids=np.ones(sum(lengths), dtype=np.int32),
        token_type_ids=np.zeros(sum(lengths), dtype=np.int32),
        labels=np.concatenate(labels),
        label_offsets=np.cumsum([0, *map(len, labels)]),
        first_rows=np.array([*first, len(rows)]),
        table=table,
    )


def write(path: Path, split: TokenSplit, logits: Any, kind: str, names: tuple[str, ...]) -> Any:
    """Write predictions of two models with these flat logits; return the file's table."""
    answers = predictions_of(np.array(logits, dtype=np.float32), split, TASKS[kind], names)
    write_predictions(path, split, answers, answers)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def test_words_share_their_sentence(tmp_path: Path) -> None:
    """Catches a sentence that is there once a word, words numbered by their tokens, and a
    prediction of a word's second piece."""
    ignored = IGNORED
    split = make_split(
        "token_classification",
        [
            {"text": "Ada goes", "labels": [ignored, 1, ignored, 0, ignored]},
            {"text": "on", "labels": [ignored, -1, ignored]},
            {"text": "then Ada", "labels": [ignored, 0, 1, ignored]},
        ],
    )
    logits = np.arange(36).reshape(12, 3)
    table = write(tmp_path / "test.arrow", split, logits, "token_classification", TAGS)
    assert table["row"].to_pylist() == [0, 0, 1, 2, 2]
    assert table["place"].to_pylist() == [0, 1, 0, 0, 1]
    assert table["label"].to_pylist() == [1, 0, -1, 0, 1]
    assert table["student_logits"].to_pylist() == logits[[1, 3, 6, 9, 10]].tolist()
    assert table["text"].to_pylist() == ["Ada goes", "Ada goes", "on", "then Ada", "then Ada"]
    assert len(table["text"].chunk(0).dictionary) == 3


def test_a_long_text_of_many_predictions_is_copied_once(tmp_path: Path) -> None:
    """Catches a text that is copied for each of its words before copies are told apart: those of
    an ordinary split of long texts are more than an Arrow array of texts can hold."""
    n_words, n_bytes = 300, 2**20
    ignored, text = IGNORED, "a" * n_bytes
    split = make_split(
        "token_classification",
        [
            {"text": text, "labels": [ignored, *[1] * n_words, ignored]},
            {"text": "on", "text_pair": "then", "labels": [ignored, 0, ignored]},
        ],
    )
    logits = np.arange(3 * (n_words + 5)).reshape(-1, 3)
    default = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(default)
    pa.set_memory_pool(counted)
    try:
        table = write(tmp_path / "test.arrow", split, logits, "token_classification", TAGS)
    finally:
        pa.set_memory_pool(default)
    texts = table["text"].chunk(0)
    assert texts.dictionary.to_pylist() == [text, "on"]
    assert texts.indices.to_pylist() == [0] * n_words + [1]
    assert table["text_pair"].to_pylist() == [None] * n_words + ["then"]
    assert n_bytes < counted.max_memory() < 20 * n_bytes


def test_a_question_is_one_prediction_with_its_choices(tmp_path: Path) -> None:
    """Catches a prediction for each choice, and choices of the next question."""
    rows = [
        {"text": "Who?", "text_pair": "I", "choice": 0, "labels": [0]},
        {"text": "Who?", "text_pair": "you", "choice": 1, "labels": [1]},
        {"text": "What?", "text_pair": "sing", "choice": 0, "labels": [1]},
        {"text": "What?", "text_pair": "go", "choice": 1, "labels": [0]},
        {"text": "What?", "text_pair": "stay", "choice": 2, "labels": [0]},
    ]
    split = make_split("multiple_choice", rows)
    logits = [[1.0], [2], [3], [5], [4]]
    table = write(tmp_path / "test.arrow", split, logits, "multiple_choice", ("choice",))
    assert table["row"].to_pylist() == [0, 2]
    assert table["text"].to_pylist() == ["Who?", "What?"]
    assert table["choices"].to_pylist() == [["I", "you"], ["sing", "go", "stay"]]
    assert table["label"].to_pylist() == [1, 0]
    assert table["student_logits"].to_pylist() == [[1, 2, -1e4], [3, 5, 4]]
    scores = score(
        TASKS["multiple_choice"].metrics,
        predictions_of(np.array(logits), split, TASKS["multiple_choice"], ("choice",)),
    )
    assert scores["accuracy"] == 0.5


def test_each_label_of_a_row_is_a_prediction(tmp_path: Path) -> None:
    """Catches labels of one row that are counted as another's."""
    rows = [{"text": "a", "labels": [1, 0, 1]}, {"text": "b", "labels": [0, 0, 1]}]
    split = make_split("multi_label", rows)
    logits = [[2.0, -1, 3], [1, -1, 2]]
    names = ("x", "y", "z")
    table = write(tmp_path / "test.arrow", split, logits, "multi_label", names)
    assert table["row"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert table["place"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert table["student_logits"].to_pylist()[3] == [0, 1]
    scores = score(
        TASKS["multi_label"].metrics,
        predictions_of(np.array(logits), split, TASKS["multi_label"], names),
    )
    assert scores["exact_match"] == 0.5


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    """Catches labels that are cut to whole numbers, and a missing one that becomes -1."""
    rows = [{"text": "a", "labels": [2.5]}, {"text": "b", "labels": [float("nan")]}]
    split = make_split("regression", rows)
    table = write(tmp_path / "test.arrow", split, [[1.5], [2.5]], "regression", ("score",))
    assert table["label"].to_pylist()[0] == 2.5
    assert np.isnan(table["label"].to_pylist()[1])
    assert table["student_logits"].to_pylist() == [[1.5], [2.5]]
