"""Rows to train on without labels, from a file of their own."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Features, Value

from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.corpus import DataSettings, read_corpus


def write(folder: Path, **files: str) -> DataSettings:
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return DataSettings(source="files", path=str(folder))


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled"])
def test_they_come_behind_the_training_rows(tmp_path: Path, name: str) -> None:
    """Catches unlabelled rows that are lost, split off for validation, or given a label."""
    labelled = "".join(f"a{number},x\nb{number},y\n" for number in range(20))
    settings = write(
        tmp_path,
        train=f"text,label\n{labelled}",
        **{name: "text\nc\nd\n"},
    )
    corpus = read_corpus(settings, CLASSIFICATION.read)
    assert set(corpus) == {"train", "validation"}
    assert corpus["train"]["text"].to_pylist()[-2:] == ["c", "d"]
    assert corpus["train"]["label"].to_pylist()[-2:] == [None, None]
    assert not {"c", "d"} & set(corpus["validation"]["text"].to_pylist())
    assert len(corpus["train"]) + len(corpus["validation"]) == 42


def test_a_label_column_there_is_not_read(tmp_path: Path) -> None:
    """Catches labels that should be hidden and teach the student after all."""
    settings = write(
        tmp_path,
        train="text,label\na,x\nb,y\n",
        validation="text,label\ne,x\n",
        unlabelled="text,label\nc,x\nd,wrong\n",
    )
    assert read_corpus(settings, CLASSIFICATION.read)["train"]["label"].to_pylist() == [
        "x",
        "y",
        None,
        None,
    ]


def test_a_sample_of_them_can_be_taken(tmp_path: Path) -> None:
    """Catches a limit on training rows that takes the unlabelled ones for such."""
    settings = write(
        tmp_path,
        train="text,label\na,x\nb,y\n",
        validation="text,label\ne,x\n",
        unlabelled="text\n" + "".join(f"c{number}\n" for number in range(9)),
    )
    settings = settings.model_copy(
        update={"max_rows": settings.max_rows.model_copy(update={"train": 2, "unlabelled": 3})}
    )
    assert read_corpus(settings, CLASSIFICATION.read)["train"]["label"].to_pylist() == [
        "x",
        "y",
        None,
        None,
        None,
    ]


def test_named_classes_keep_their_order(tmp_path: Path) -> None:
    """Catches labels that get other numbers because unlabelled rows name no classes."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["z", "a"])})
    for split in ("train", "validation"):
        table = pa.table({"text": ["one", "two"], "label": [0, 1]}, schema=features.arrow_schema)
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    pyarrow.parquet.write_table(pa.table({"text": ["three"]}), tmp_path / "unlabelled.parquet")
    corpus = read_corpus(DataSettings(source="files", path=str(tmp_path)), CLASSIFICATION.read)
    names = CLASSIFICATION.label_names(corpus, None)
    assert names == ["z", "a"]
    ids = CLASSIFICATION.encode(corpus, names, None)["train"]
    assert ids.to_pylist() == [0, 1, -1]
