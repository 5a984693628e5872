"""The section `data`: names by number, splits by another name, and what no task can read."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_section
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.data_faults import data_faults
from pipeline.tasks.task import Kind
from pipeline.text.corpus import DataSettings, read_corpus

CSV = "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(4))


def settings_of(**data: Any) -> DataSettings:
    """Return the section as params.yaml would have it."""
    return parse_section(DataSettings, data, "data")


def test_a_list_names_labels_by_number_and_by_name(tmp_path: Path) -> None:
    """Catches names in the order in which the rows have them."""
    (tmp_path / "train.csv").write_text(CSV, encoding="utf-8")
    (tmp_path / "dev.csv").write_text(CSV.replace(",1", ",ant"), encoding="utf-8")
    settings = settings_of(source="files", path=str(tmp_path), labels=["zebra", "ant"])
    corpus, mapping = read_corpus(settings, CLASSIFICATION.read), settings.names_by_value
    names = CLASSIFICATION.label_names(corpus, mapping)
    assert names == ["zebra", "ant"]
    encoded = CLASSIFICATION.encode(corpus, names, mapping)
    assert {split: ids.to_pylist() for split, ids in encoded.items()} == {
        "train": [0, 1, 0, 1],
        "validation": [0, 1, 0, 1],
    }


@pytest.mark.parametrize("labels", [["2", "1"], ["a", "a"], ["a"]])
def test_a_list_that_names_nothing_is_refused(labels: list[str]) -> None:
    """Catches the value 1 taken for the name 1 in one file and for the second in another."""
    with pytest.raises(SettingsError) as caught:
        settings_of(labels=labels)
    assert all(fault.startswith("data") for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"label": 1.5}, "data.columns.label: "),
        ({"label": ["a"]}, "data.columns.label: "),
        ({"text": True}, "data.columns.text: "),
    ],
)
def test_columns_are_names_or_numbers(columns: dict[str, Any], fault: str) -> None:
    """Catches a traceback, or a fault that does not say where it is."""
    with pytest.raises(SettingsError) as caught:
        settings_of(columns=columns)
    assert all(one.startswith(fault) for one in caught.value.faults), caught.value.faults


def test_files_of_splits_may_have_other_names(tmp_path: Path) -> None:
    """Catches the usual name read where another is asked for, and a split left out read."""
    for name in ("train.csv", "dev.csv", "validation_b.csv", "test.csv"):
        (tmp_path / name).write_text(CSV.replace("text ", f"{name} "), encoding="utf-8")
    asked = {"validation": "validation_b", "test": None}
    corpus = read_corpus(
        settings_of(source="files", path=str(tmp_path), splits=asked), CLASSIFICATION.read
    )
    assert list(corpus) == ["train", "validation"]
    assert corpus["validation"]["text"].to_pylist()[0] == "validation_b.csv 0"
    with pytest.raises(DataError, match=r"has no file b\.csv|.*which data\.splits\.test names"):
        read_corpus(
            settings_of(source="files", path=str(tmp_path), splits={"test": "b"}),
            CLASSIFICATION.read,
        )


def test_splits_of_the_hub_may_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches MNLI's validation rows set aside from training, or its two sets mixed."""

    def load_dataset(*request: object) -> datasets.DatasetDict:
        def split(text: str) -> datasets.Dataset:
            return datasets.Dataset.from_dict({"text": [text], "label": ["a"]})

        names = ("train", "validation_a", "validation_b", "test_b")
        return datasets.DatasetDict({name: split(name) for name in names})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    asked = {"validation": "validation_b", "test": "test_b"}
    corpus = read_corpus(settings_of(source="hub", hub_id="o/n", splits=asked), CLASSIFICATION.read)
    texts = {split: table["text"].to_pylist() for split, table in corpus.items()}
    assert texts == {"train": ["train"], "validation": ["validation_b"], "test": ["test_b"]}
    with pytest.raises(DataError, match=r"'o/n' has no split 'c'; it has train, validation_a"):
        read_corpus(
            settings_of(source="hub", hub_id="o/n", splits={"test": "c"}), CLASSIFICATION.read
        )


CHOICES = {"columns": {"choices": "options"}}


@pytest.mark.parametrize(
    ("kind", "data", "fault"),
    [
        ("regression", {"source": "docstrings"}, "data.source: docstrings are labelled for a clas"),
        ("classification", CHOICES, "data.columns.choices: only multiple_choice reads this column"),
        (
            "regression",
            {"columns": {"question": "q"}},
            "data.columns.question: only multiple_choice or",
        ),
        (
            "token_classification",
            {"columns": {"text_pair": "b"}},
            "data.columns.text_pair: only classification, multi_label or regression reads this",
        ),
        (
            "multiple_choice",
            {"columns": {"choices": "options", "text_pair": "b"}},
            "data.columns.text_pair: only classification, multi_label or regression reads this",
        ),
        (
            "classification",
            {"columns": {"label": ["a", "b"]}},
            "data.columns.label: only a multi_label has several columns of labels",
        ),
        ("regression", {"labels": ["a", "b"]}, "data.labels: a regression has no label names"),
        (
            "question_answering",
            {"columns": {"question": "q", "text_pair": "b"}},
            "data.columns.text_pair: only classification, multi_label or regression reads this",
        ),
        ("question_answering", {}, "data.columns.question: a question_answering needs the column"),
        (
            "question_answering",
            {"columns": {"question": "q"}, "labels": ["start", "end"]},
            "data.labels: a question_answering has no label names",
        ),
        (
            "multiple_choice",
            {"columns": {"choices": "options", "answer_start": "at"}},
            "data.columns.answer_start: only question_answering reads this column",
        ),
        ("multiple_choice", {}, "data.columns.choices: a multiple_choice needs the column with"),
        (
            "masked_lm",
            {"columns": {"text_pair": "b"}},
            "data.columns.text_pair: only classification, multi_label or regression reads this",
        ),
        (
            "masked_lm",
            {"columns": {"target": "b"}},
            "data.columns.target: only sequence_to_sequence reads this column; take it out",
        ),
        ("masked_lm", {"labels": ["a", "b"]}, "data.labels: a masked_lm has no label names"),
        (
            "sequence_to_sequence",
            {},
            "data.columns.target: a sequence_to_sequence needs the column of texts to be written",
        ),
        (
            "sequence_to_sequence",
            {"source": "docstrings"},
            "data.source: docstrings are labelled for a classification; set task.kind to that, or",
        ),
    ],
)
def test_what_does_not_go_with_a_task_is_named(
    kind: Kind, data: dict[str, Any], fault: str
) -> None:
    """Catches a setting that nothing reads, found when the labels are wrong."""
    (found,) = data_faults(settings_of(**{"source": "files", **data}), kind)
    assert found.startswith(fault)


def test_what_goes_with_a_task_has_no_faults() -> None:
    """Catches a rule that refuses what works."""
    labels = {"columns": {"label": ["a", "b"]}}
    assert data_faults(settings_of(source="files", **CHOICES), "multiple_choice") == []
    assert data_faults(settings_of(source="files", **labels), "multi_label") == []
    answers = {"columns": {"question": "q", "label": "a", "answer_start": "at"}}
    assert data_faults(settings_of(source="files", **answers), "question_answering") == []
    assert data_faults(settings_of(), "classification") == []
    assert data_faults(settings_of(labels=["a", "b"]), "masked_lm") == []
    assert data_faults(settings_of(source="files", path="x"), "masked_lm") == []
    written = {"columns": {"target": "b"}}
    assert data_faults(settings_of(source="files", **written), "sequence_to_sequence") == []
    assert data_faults(settings_of(source="tokens"), "multiple_choice") == []
    assert json.loads(settings_of(columns={"text": 0}).model_dump_json())["columns"]["text"] == "0"
