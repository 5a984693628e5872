"""Several labels for a text: 0 or 1 for each, however the source writes them."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from pipeline.errors import DataError
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.labels import encode_labels, label_names
from tests.text.conftest import Write

TEXTS = ("the film", "the story", "the acting", "a bit")
LISTS: list[Any] = [["warm"], ["cold", "warm"], [], None]
EXPECTED = [[0, 1], [1, 1], [0, 0], [-1, -1]]


def rows_of(labels: list[Any], name: str = "label") -> list[dict[str, Any]]:
    """Return a row for each list of labels."""
    return [{"text": text, name: label} for text, label in zip(TEXTS, labels, strict=True)]


def test_lists_of_names(write_jsonl: Write) -> None:
    """Catches no label taken for none known, and labels counted where they are not."""
    written = write_jsonl("names", rows_of(LISTS))
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
    assert write_jsonl("names", rows_of(labels)).tokens.labels == ("2", "10")
    named = write_jsonl("names", rows_of([[1], [0, 1], [], None]), labels=["cold", "warm"])
    assert named.tokens.labels == ("cold", "warm")
    assert named.tokens.splits["train"].labels.reshape(-1, 2).tolist() == EXPECTED


def read(folder: Path, label_kind: Any = "names", **data: Any) -> tuple[list[str], list[Any]]:
    """Return the names of the labels and the labels of the training rows."""
    settings = DataSettings.model_validate({"source": "files", "path": str(folder), **data})
    corpus = read_corpus(settings, label_kind)
    names = label_names(corpus, None, label_kind)
    return names, encode_labels(corpus, label_kind, names, None)["train"].to_pylist()


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
        ("text,a\nt,1\n", r"has no column 'b'; it has text, a\. Set data\.columns\.label"),
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
        write_jsonl("names", rows_of(LISTS), other)
    written = write_jsonl("names", rows_of(LISTS), other, labels=["cold", "warm", "dull"])
    found = written.tokens.splits["validation"].labels.reshape(-1, 3).tolist()
    assert found == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [-1, -1, -1]]
