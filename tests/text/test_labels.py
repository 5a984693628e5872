"""Labels as they are written: their names, their order, and those that nobody knows."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.corpus import read_corpus
from pipeline.text.files import read_table
from tests.text.made_corpus import CSV, column, read, settings_of


def write_class_labels(path: Path, labels: list[int | None], names: list[str]) -> None:
    """Write a Parquet file whose labels are numbers of named classes, as the Hub's are."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    rows = {"text": [f"text {number}" for number in range(len(labels))], "label": labels}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)


@pytest.mark.parametrize("labels", [("1", "", "2"), ("pos", "", "neg")])
def test_an_empty_label_is_no_label(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """Catches a class without a name, made of the rows that nobody labelled."""
    content = "text,label\n" + "".join(f"text {label},{label}\n" for label in labels)
    corpus = read(tmp_path, {"train.csv": content, "val.csv": content})
    assert column(corpus, "train", "label") == [labels[0], None, labels[2]]
    assert CLASSIFICATION.label_names(corpus, None) == sorted({labels[0], labels[2]})


def test_parquet_keeps_the_order_of_its_classes(tmp_path: Path) -> None:
    """Catches labels in alphabetic order, which turns a teacher's logits round."""
    write_class_labels(tmp_path / "train.parquet", [1, 0, -1, None, 1], ["zebra", "ant"])
    write_class_labels(tmp_path / "validation.parquet", [0, -1], ["zebra", "ant"])
    corpus = read_corpus(settings_of(tmp_path), CLASSIFICATION.read)
    assert column(corpus, "train", "label") == ["ant", "zebra", None, None, "ant"]
    names = CLASSIFICATION.label_names(corpus, None)
    assert names == ["zebra", "ant"]
    assert CLASSIFICATION.encode(corpus, names, None)["train"].to_pylist() == [
        1,
        0,
        -1,
        -1,
        1,
    ]
    assert CLASSIFICATION.encode(corpus, names, None)["validation"].to_pylist() == [0, -1]


def test_only_words_without_an_order_are_alphabetic(tmp_path: Path) -> None:
    """Catches a teacher's unnamed outputs refused where numbers, classes or the user order the
    labels, and taken for words of which nobody knows the order."""
    write_class_labels(tmp_path / "classes.parquet", [1, 0], ["zebra", "ant"])
    (tmp_path / "words.csv").write_text("text,label\na,bad\nb,good\n", encoding="utf-8")
    (tmp_path / "mixed.csv").write_text("text,label\na,1\nb,n1\n", encoding="utf-8")
    (tmp_path / "numbers.csv").write_text("text,label\na,-1.0\nb,10\n", encoding="utf-8")
    found = {}
    for path in tmp_path.iterdir():
        corpus = {"train": read_table(path)}
        found[path.stem] = CLASSIFICATION.is_alphabetic(corpus, None)
        assert not CLASSIFICATION.is_alphabetic(corpus, {"bad": "bad", "good": "good"})
        assert not TASKS["question_answering"].is_alphabetic(corpus, None)
    assert found == {"classes": False, "words": True, "mixed": True, "numbers": False}


def test_a_source_without_labels_is_read(tmp_path: Path) -> None:
    """Catches texts for the teacher to label being refused."""
    corpus = read(tmp_path, {"train.csv": CSV, "val.csv": CSV}, columns={"label": None})
    assert set(column(corpus, "train", "label")) == {None}


def test_an_unknown_label_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """Catches a label of the test file that no model can predict."""
    files = {"train.csv": CSV, "val.csv": "text,label\na,0\nb,two\nc,1\nd,2\ne,two\n"}
    corpus = read(tmp_path, files)
    names = CLASSIFICATION.label_names(corpus, None)
    with pytest.raises(DataError) as caught:
        CLASSIFICATION.encode(corpus, names, None)["validation"]
    assert str(caught.value) == (
        "validation: unknown label '2', 'two' (first in row 4); known labels: 0, 1. Correct the "
        "data, or name every label under data.labels."
    )


def test_a_mapping_names_and_orders_the_labels(tmp_path: Path) -> None:
    """Catches numbers by the values' order instead of the mapping's, or merged classes kept two."""
    content = "text,label\na,1\nb,3\nc,0\nd,1\n"
    corpus = read(tmp_path, {"train.csv": content, "val.csv": content})
    mapping = {"1": "good", "0": "bad", "3": "bad"}
    names = CLASSIFICATION.label_names(corpus, mapping)
    assert names == ["good", "bad"]
    ids = CLASSIFICATION.encode(corpus, names, mapping)["train"]
    assert ids.to_pylist() == [0, 1, 1, 0]
    with pytest.raises(
        DataError, match=r"unknown label '3' \(first in row 2\); known labels: 1, 0"
    ):
        CLASSIFICATION.encode(corpus, ["good", "bad"], {"1": "good", "0": "bad"})["train"]


@pytest.mark.parametrize(("label", "found"), [("x", "only 'x'"), ("", "none")])
def test_fewer_than_two_labels_are_refused(tmp_path: Path, label: str, found: str) -> None:
    """Catches a classifier of one class, which is always right."""
    content = f"text,label\na,{label}\nb,{label}\n"
    corpus = read(tmp_path, {"train.csv": content, "val.csv": content})
    with pytest.raises(
        DataError, match=f"needs two labels or more, the training split has {found}"
    ):
        CLASSIFICATION.label_names(corpus, None)


def test_what_is_not_a_number_is_no_label(tmp_path: Path) -> None:
    """Catches a class called nan, made of the gaps in a column of floats, and one called blank."""
    for split in ("train", "validation"):
        rows = {"text": ["a", "b", "c"], "label": [1.0, float("nan"), 0.0]}
        pyarrow.parquet.write_table(pa.table(rows), tmp_path / f"{split}.parquet")
    corpus = read_corpus(settings_of(tmp_path), CLASSIFICATION.read)
    assert column(corpus, "train", "label") == ["1", None, "0"]
    content = 'text,label\na,x\nb,"  "\nc,y\n'
    (tmp_path / "blank").mkdir()
    corpus = read(tmp_path / "blank", {"train.csv": content, "val.csv": content})
    assert column(corpus, "train", "label") == ["x", None, "y"]


def test_numbers_with_a_point_are_in_numeric_order(tmp_path: Path) -> None:
    """Catches 10.0 before 2.0, which turns the logits of a head without names round."""
    labels = ["10.0", "-1.0", "2.0", "b", "0.0", "a"]
    content = "text,label\n" + "".join(f"text,{label}\n" for label in labels)
    corpus = read(tmp_path, {"train.csv": content, "val.csv": content})
    assert CLASSIFICATION.label_names(corpus, None) == ["-1.0", "0.0", "2.0", "10.0", "a", "b"]
