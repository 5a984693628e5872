"""`decant new` for each kind of task: its params, what it says, and options that do not fit."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from pipeline.core.settings import parse_params
from pipeline.project import create
from pipeline.project.check import check_params
from pipeline.project.presets import list_presets
from pipeline.tasks.task import Kind
from tests.project.new_projects import new_project, options_of, write_rows
from tests.stages.conftest import invoke
from tests.tasks.small_tasks import COLUMNS, KINDS, make_rows, make_teacher

SAID: dict[Kind, str] = {
    "classification": "labels: negative (19), positive (18)\n",
    "multi_label": "labels: long (21), negative (15), positive (14)\n",
    "regression": "labels: numbers from 0.4 to 3, 1.82 on average, of 37 of 40 rows\n",
    "token_classification": "labels: B-BAD (19), B-GOOD (18), I-GOOD (43), O (415), in words\n",
    "multiple_choice": "labels: which of 1 to 4 choices is right, of 37 of 40 questions\n",
    "question_answering": "labels: answers to 37 of 40 questions, 6 of which the text does not ",
    "masked_lm": "labels: none are needed; masks hide word pieces of the texts\n",
    "sequence_to_sequence": "labels: texts to be written for 37 of 40 rows\n",
}


@pytest.fixture(autouse=True)
def _without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """What git and DVC do is the same for all kinds, and takes seconds."""

    monkeypatch.setattr(create, "_track", lambda folder, project, has_files: None)


def read_params(folder: Path) -> dict[str, Any]:
    return parse_params((folder / "project/params.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_begins(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a kind of task without a way in, and a params.yaml that `decant check` refuses."""
    result = new_project(tmp_path, kind)
    assert result.exit_code == 0, result.output
    assert SAID[kind] in result.stdout
    monkeypatch.chdir(tmp_path / "project")
    params = read_params(tmp_path)
    assert params["task"] == {"kind": kind}
    assert params["data"]["columns"] == COLUMNS.get(kind, {"text": "text", "label": "label"})
    assert params["teacher"]["checkpoint"] == params["tokenizer"]["checkpoint"] == "../base"
    assert params["tokenizer"]["max_length"] == 64  # as long as this teacher can read
    check_params(params)
    assert invoke("prepare").exit_code == 0
    readme = Path("README.md").read_text(encoding="utf-8")
    assert f"Distilled models for {kind.replace('_', ' ')}: one teacher" in readme
    assert ("CNN" in (Path("params.yaml").read_text("utf-8"))) == (
        kind in ("classification", "multi_label", "regression")
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "question_answering", "--text", "a", "--label", "b"], "needs --question; it"),
        (
            ["--task", "multiple_choice", "--text", "a"],
            "--task multiple_choice needs --choices and --label; it takes --text COLUMN --choices "
            "COLUMN ... --label COLUMN [--question COLUMN] [--unlabelled VALUE]",
        ),
        (["--text", "a"], "--task classification needs --label; it takes --text COLUMN --label"),
        (
            ["--text", "a", "--label", "b", "--choices", "c"],
            "--choices is for --task multiple_choice, not classification; it takes --text COLUMN",
        ),
        (
            ["--task", "masked_lm", "--text", "a", "--label", "b"],
            "--label is for --task classification or multi_label or regression or ",
        ),
        (
            ["--text", "a", "--label", "b", "--label", "c"],
            "--label is given 2 times; only --task multi_label reads several such columns",
        ),
        (["--text", "a", "--label", "b", "--labels", "0,1"], "no numbers, with commas be"),
        (
            ["--task", "sequence_to_sequence", "--text", "a", "--target", "b"],
            "--task sequence_to_sequence needs --teacher, a checkpoint with an encoder and a dec",
        ),
        (
            ["--task", "regression", "--preset", "glue/mrpc"],
            "--preset glue/mrpc is a classification, not --task regression; leave out one",
        ),
        (["--preset", "glue/mrp"], "preset 'glue/mrp' does not exist; did you mean 'glue/mrpc'?"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: list[str], expected: str) -> None:
    """Catches a missing column that is said in the words of params.yaml, or not at all."""
    result = invoke("new", str(tmp_path / "p"), "--data", str(tmp_path), *options)
    assert result.exit_code == 2 and "data." not in result.stderr
    assert expected in " ".join(result.stderr.split())


def test_neither_data_nor_a_preset(tmp_path: Path) -> None:
    """Catches a traceback where nothing says which data."""
    result = invoke("new", str(tmp_path / "p"), "--text", "a", "--label", "b")
    assert result.exit_code == 2 and "give --data, your files, or --preset" in result.stderr


@pytest.mark.parametrize("kind", ["classification", "sequence_to_sequence"])
def test_a_teacher_that_cannot_do_the_task(kind: Kind, tmp_path: Path) -> None:
    """Catches an encoder that is to write texts, and a writer that is to classify them."""
    other: Kind = "sequence_to_sequence" if kind == "classification" else "classification"
    make_teacher(tmp_path / "base", other)
    result = new_project(tmp_path, kind)
    assert result.exit_code == 1 and not (tmp_path / "project").exists()
    assert result.stderr.splitlines()[-1].startswith(
        f"new: --teacher {tmp_path / 'base'}: a model of type "
    )


def test_labels_of_words_may_be_no_entities(tmp_path: Path) -> None:
    """Catches parts of speech that are measured as entities, of which there are none."""
    rows = [{"text": ["the", "film", "was", "warm"], "label": ["D", "N", "V", "A"]}] * 30
    write_rows(tmp_path / "tagged", {"train": rows, "validation": rows})
    options = options_of({"text": "text", "label": "label"})
    result = new_project(tmp_path, "token_classification", *options, data=tmp_path / "tagged")
    assert result.exit_code == 0, result.output
    assert "labels: they are no tags of entities, such as B-PER, I-PER and O, so" in result.stdout
    assert read_params(tmp_path)["task"]["metrics"] == ["accuracy", "macro_f1"]


@pytest.mark.parametrize("name", ["glue/mrpc", "conll2003"])
def test_a_preset_with_files(name: str, tmp_path: Path) -> None:
    """Catches a preset whose columns, labels or metrics a new project does not have."""
    kind: Kind = "classification" if name == "glue/mrpc" else "token_classification"
    columns = {"text": "sentence1", "other": "sentence2", "label": "label"}
    names = {"negative": "not_equivalent", "positive": "equivalent"}
    if name == "conll2003":
        columns = {"text": "tokens", "label": "ner_tags"}
        names = {"B-GOOD": "B-PER", "I-GOOD": "I-PER", "B-BAD": "B-ORG"}

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [names.get(one, one) for one in value]
        return value if value is None else names.get(value, value)

    rows = [
        {columns[key]: named(value) if key == "label" else value for key, value in row.items()}
        for row in make_rows(kind, 40)
    ]
    write_rows(tmp_path / "files", {"train": rows, "validation": rows})
    result = new_project(tmp_path, kind, "--preset", name, data=tmp_path / "files")
    assert result.exit_code == 0, result.output
    (preset,) = [one for one in list_presets() if one.name == name]
    params = read_params(tmp_path)
    assert params["task"] == preset.settings["task"]
    assert params["data"]["labels"] == preset.settings["data"]["labels"]
    assert params["data"]["source"] == "files" and "hub_id" not in params["data"]


def test_a_preset_with_files_of_another_data_set(tmp_path: Path) -> None:
    """Catches other tags under a preset's name, found only by `prepare`."""
    rows = [{"tokens": ["the", "film"], "ner_tags": ["O", "B-corporation"]}] * 30
    write_rows(tmp_path / "files", {"train": rows, "validation": rows})
    files = tmp_path / "files"
    result = new_project(tmp_path, "token_classification", "--preset", "conll2003", data=files)
    assert result.exit_code == 1 and not (tmp_path / "project").exists()
    assert (
        f"new: {files} has 1 labels that preset 'conll2003' does not name: 'B-corporation'; it "
        "names O, B-PER, "
    ) in result.stderr


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that has the pairs of one data set."""
    names = ["not_equivalent", "equivalent"]
    features = datasets.Features(
        {
            "sentence1": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
        }
    )

    def load_dataset(*request: object) -> datasets.DatasetDict:
        assert request == ("nyu-mll/glue", "mrpc")
        texts = [f"the film {number}" for number in range(40)]
        rows = {"sentence1": texts, "sentence2": texts, "label": [0, 1] * 20}
        split = datasets.Dataset.from_dict(rows, features=features)
        return datasets.DatasetDict(train=split, validation=split, test=split)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


@pytest.mark.usefixtures("hub")
def test_a_preset_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a data set of the Hub that needs a file beside it, or a folder DVC looks for."""
    tracked: list[bool] = []

    def track(folder: Path, project: create.Project, *, has_files: bool) -> None:
        tracked.append(has_files)

    monkeypatch.setattr(create, "_track", track)
    make_teacher(tmp_path / "base", "classification", ("not_equivalent", "equivalent"))
    base = str(tmp_path / "base")
    result = invoke("new", str(tmp_path / "project"), "--preset", "glue/mrpc", "--teacher", base)
    assert result.exit_code == 0, result.output
    assert "labels: not_equivalent (20), equivalent (20)" in result.stdout
    params = read_params(tmp_path)
    assert params["data"]["source"] == "hub" and params["data"]["hub_id"] == "nyu-mll/glue:mrpc"
    assert params["task"]["metrics"] == ["f1", "accuracy"]
    assert tracked == [False] and (tmp_path / "project/data/.gitkeep").is_file()
    text = (tmp_path / "project/README.md").read_text(encoding="utf-8")
    assert "the texts come from the Hub" in text


def test_attention_maps_are_left_out_where_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a first run that fills the disk, and one that leaves them out without a word."""
    monkeypatch.setattr(create, "_LARGE_STORE_BYTES", 1000)
    result = new_project(tmp_path, "classification")
    assert result.exit_code == 0, result.output
    assert "space: attention maps would take about 0 GB, so none are captured" in result.stdout
    params = read_params(tmp_path)
    assert "attentions" not in params["capture"]["signals"]
    assert not any("attentions" in one["objectives"] for one in params["students"].values())


def test_unlabelled_texts(tmp_path: Path) -> None:
    """Catches a file of unlabelled texts that is refused, or that no student learns from."""
    rows = make_rows("classification", 40)
    more = [
        {"text": row["text"], "other": row["other"]}
        for row in make_rows("classification", 300, seed=5)
    ]
    files = {"train": rows, "validation": rows, "unlabelled": more}
    write_rows(tmp_path / "files", files)
    options = options_of(COLUMNS["classification"])
    result = new_project(
        tmp_path, "classification", *options, "--max-rows", "200", data=tmp_path / "files"
    )
    assert result.exit_code == 0, result.output
    assert "rows: train 340, validation 40, 300 of train unlabelled" in result.stdout
    assert "sample: 240 of the training rows are used" in result.stdout
    params = read_params(tmp_path)
    assert params["data"]["max_rows"] == {"unlabelled": 200}
    alone = [
        student["training"]
        for student in params["students"].values()
        if set(student["objectives"]) == {"hard_label"}
    ]
    assert len(alone) == 2 and all("unlabelled_share" in training for training in alone)


def test_blank_lines_among_unlabelled_texts(tmp_path: Path) -> None:
    """Catches counts of rows that include what a masked LM leaves out."""
    folder = tmp_path / "files"
    folder.mkdir()
    text = " ".join(row["text"] for row in make_rows("masked_lm", 40))
    for split, n_lines in {"train": 20, "validation": 5}.items():
        (folder / f"{split}.txt").write_text(f"{text}\n\n" * n_lines, encoding="utf-8")
    rows = [{"text": text}, {"text": " "}, {"text": None}] * 8
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "unlabelled.jsonl").write_text(lines, encoding="utf-8")
    result = new_project(tmp_path, "masked_lm", "--text", "text", data=folder)
    assert result.exit_code == 0, result.output
    assert "rows: train 28, validation 5, 8 of train unlabelled" in result.stdout
