"""Several labels for a text: 0 or 1 for each, however the source writes them."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.text.corpus import DataSettings, read_corpus
from tests.text.conftest import Write

TEXTS = ("the film", "the story", "the acting", "a bit")
LISTS: list[Any] = [["warm"], ["cold", "warm"], [], None]
EXPECTED = [[0, 1], [1, 1], [0, 0], [-1, -1]]


def rows_of(labels: list[Any], name: str = "label") -> list[dict[str, Any]]:
    """Return a row for each list of labels."""
    return [{"text": text, name: label} for text, label in zip(TEXTS, labels, strict=True)]


def test_lists_of_names(write_jsonl: Write) -> None:
    """Catches no label taken for none known, and labels counted where they are not."""
    written = write_jsonl("multi_label", rows_of(LISTS))
    assert written.tokens.labels == ("cold", "warm")
    split = written.tokens.splits["train"]
    assert split.labels.reshape(-1, 2).tolist() == EXPECTED
    assert split.label_offsets.tolist() == [0, 2, 4, 6, 8]
    summary = written.summary["splits"]["train"]
    assert summary["n_labelled"] == 3
    assert summary["label_counts"] == {"cold": 1, "warm": 2}


def test_lists_of_numbers(write_jsonl: Write) -> None:
    """Catches numbers of labels that are not put in numeric order, or get no names."""
    labels: list[Any] = [[10], [2, 10], [], None]
    assert write_jsonl("multi_label", rows_of(labels)).tokens.labels == ("2", "10")
    named = write_jsonl("multi_label", rows_of([[1], [0, 1], [], None]), labels=["cold", "warm"])
    assert named.tokens.labels == ("cold", "warm")
    assert named.tokens.splits["train"].labels.reshape(-1, 2).tolist() == EXPECTED


def read(folder: Path, kind: Kind = "multi_label", **data: Any) -> tuple[list[str], list[Any]]:
    """Return the names of the labels and the labels of the training rows."""
    settings = DataSettings.model_validate({"source": "files", "path": str(folder), **data})
    corpus = read_corpus(settings, TASKS[kind].read)
    names = TASKS[kind].label_names(corpus, None)
    return names, TASKS[kind].encode(corpus, names, None)["train"].to_pylist()


def test_named_classes_keep_their_order(tmp_path: Path) -> None:
    """Catches labels in alphabetic order, which turns a teacher's logits round."""
    names = datasets.List(datasets.ClassLabel(names=["zebra", "ant", "bee"]))
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    rows = {"text": list(TEXTS), "label": [[1], [0, 2], [], None]}
    for split in ("train", "validation"):
        made = datasets.Dataset.from_dict(rows, features=features)
        made.to_parquet(tmp_path / f"{split}.parquet")
    found, labels = read(tmp_path)
    assert found == ["zebra", "ant", "bee"]
    assert labels == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [-1, -1, -1]]


def test_columns_of_zeros_and_ones(tmp_path: Path) -> None:
    """Catches labels in another order than the columns, and -1 as a label that is absent."""
    content = "text,warm,cold\na,1,0\nb,1,1\nc,0,0\nd,-1,-1\ne,,\n"
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    columns = {"label": ("warm", "cold"), "unlabelled": "-1"}
    assert read(tmp_path, columns=columns) == (
        ["warm", "cold"],
        [[1, 0], [1, 1], [0, 0], [-1, -1], [-1, -1]],
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,a,b\nt,1,0\nu,1,2\n", r"row 2 has '2' in column 'b', which needs 0 or 1"),
        ("text,a,b\nt,1,\n", r"row 1 is labelled in some of the columns of data\.columns\.label"),
        ("text,a\nt,1\n", r"has no column 'b'; it has 'text', 'a'\. Set data\.columns\.label"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path: Path, content: str, message: str) -> None:
    """Catches a number of something taken for a label."""
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(tmp_path, columns={"label": ("a", "b")})


@pytest.mark.parametrize(("suffix", "between"), [("csv", "|"), ("tsv", ",")])
def test_names_in_a_string(tmp_path: Path, suffix: str, between: str) -> None:
    """Catches blanks that make two labels of one, and a row without labels that has all known."""
    joined = [f"warm {between} cold", "warm", "", between]
    cells = {"csv": ",", "tsv": "\t"}[suffix]
    lines = [f"{text}{cells}{labels}" for text, labels in zip(TEXTS, joined, strict=True)]
    content = "\n".join([f"text{cells}label", *lines]) + "\n"
    for split in ("train", "dev"):
        (tmp_path / f"{split}.{suffix}").write_text(content, encoding="utf-8")
    names, labels = read(tmp_path, columns={"label_separator": between})
    assert names == ["cold", "warm"]
    assert labels == [[1, 1], [0, 1], [-1, -1], [0, 0]]


def test_a_label_that_training_lacks(write_jsonl: Write) -> None:
    """Catches a label without a number, and the row of a list counted by its labels."""
    other = rows_of([["warm", "cold"], ["dull"], [], None])
    with pytest.raises(DataError, match=r"validation: unknown label 'dull' \(first in row 2\)"):
        write_jsonl("multi_label", rows_of(LISTS), other)
    written = write_jsonl("multi_label", rows_of(LISTS), other, labels=["cold", "warm", "dull"])
    found = written.tokens.splits["validation"].labels.reshape(-1, 3).tolist()
    assert found == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [-1, -1, -1]]


def test_a_list_of_nothing_known_is_no_label(write_jsonl: Write) -> None:
    """Catches a class called -1, one without a name, and a row that nobody labelled taken as 0."""
    labels: list[Any] = [[0, 1], [-1], [-1, -1], []]
    columns = {"unlabelled": "-1"}
    written = write_jsonl("multi_label", rows_of(labels), columns=columns)
    assert written.tokens.labels == ("0", "1")
    found = written.tokens.splits["train"].labels.reshape(-1, 2).tolist()
    assert found == [[1, 1], [-1, -1], [-1, -1], [0, 0]]
    named = write_jsonl("multi_label", rows_of([["warm"], ["cold"], [""], [None]]))
    assert named.tokens.labels == ("cold", "warm")
    found = named.tokens.splits["train"].labels.reshape(-1, 2).tolist()
    assert found == [[0, 1], [1, 0], [-1, -1], [-1, -1]]


def test_negative_classes_in_lists_are_no_label(tmp_path: Path) -> None:
    """Catches the Hub's mark for what nobody labelled taken for a row without any label."""
    names = datasets.List(datasets.ClassLabel(names=["zebra", "ant"]))
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    rows = {"text": list(TEXTS), "label": [[1], [-1], [], None]}
    for split in ("train", "validation"):
        made = datasets.Dataset.from_dict(rows, features=features)
        made.to_parquet(tmp_path / f"{split}.parquet")
    assert read(tmp_path) == (["zebra", "ant"], [[0, 1], [-1, -1], [0, 0], [-1, -1]])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["warm"], ["cold", ""], [], None], r"row 2 has nothing in the place of one of its"),
        ([[0, 1, 0], [0, 0, 1], [1, 1, 0], None], r"row 1 holds the label 0 more than once"),
        ([[0, 1], [1, 0], [1, 1], None], r"row 3 holds the label 1 more than once"),
        ([[True, False], [True, True], [], None], r"row 2 holds the label true more than once"),
    ],
)
def test_lists_that_do_not_fit_are_named(
    write_jsonl: Write, labels: list[Any], message: str
) -> None:
    """Catches 0 and 1 for each label read as the numbers of two labels."""
    with pytest.raises(DataError, match=message):
        write_jsonl("multi_label", rows_of(labels))


@pytest.mark.parametrize(
    "kind", [pa.large_list(pa.large_string()), pa.list_(pa.string(), 1), pa.list_(pa.string())]
)
def test_lists_of_every_kind(tmp_path: Path, kind: pa.DataType) -> None:
    """Catches a refusal of the lists that other libraries write."""
    labels = pa.array([["warm"], ["cold"], ["warm"], None], kind)
    for split in ("train", "validation"):
        table = pa.table({"text": list(TEXTS), "label": labels})
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    assert read(tmp_path) == (["cold", "warm"], [[0, 1], [1, 0], [0, 1], [-1, -1]])


def test_white_space_is_no_label(tmp_path: Path) -> None:
    """Catches a blank cell that says that no label applies, or is a separator no longer."""
    content = 'text,label\na,"x;y"\nb," "\nc," ; "\n'
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert read(tmp_path, columns={"label_separator": ";"})[1] == [[1, 1], [-1, -1], [0, 0]]
    content = 'text,label\na,"x y"\nb,""\nc," "\n'
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert read(tmp_path, columns={"label_separator": " "})[1] == [[1, 1], [-1, -1], [0, 0]]


def test_a_test_split_has_all_columns_of_labels_or_none(tmp_path: Path) -> None:
    """Catches labels of the test rows that are dropped, for one column has another name there."""
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("text,warm,cold\na,1,0\nb,0,1\n", encoding="utf-8")
    settings = DataSettings.model_validate(
        {"source": "files", "path": str(tmp_path), "columns": {"label": ("warm", "cold")}}
    )
    (tmp_path / "test.csv").write_text("text,cold\na,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no column 'warm'; it has 'text', 'cold'\."):
        read_corpus(settings, TASKS["multi_label"].read)
    (tmp_path / "test.csv").write_text("text\na\n", encoding="utf-8")
    assert read_corpus(settings, TASKS["multi_label"].read)["test"]["label"].to_pylist() == [None]
