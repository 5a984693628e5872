"""params.yaml of a new project: what task, data and teacher decide; the rest stays."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.settings import parse_params, parse_section
from pipeline.models.architecture import Architecture
from pipeline.project.check import check_params
from pipeline.project.data import Request
from pipeline.project.params import TEMPLATE, ProjectTeacher, Sizes, project_params
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.text.corpus import DataSettings
from tests.tasks.small_tasks import COLUMNS, KINDS

TEXT = TEMPLATE.read_text(encoding="utf-8")
PACKAGED = Architecture(
    model_type="bert", n_layers=6, n_heads=12, hidden_size=384, n_labels=2, head_reads="first"
)


def made(
    kind: Kind = "classification",
    *,
    columns: dict[str, str] | None = None,
    teacher: str | None = None,
    has_attentions: bool = True,
    text: str = TEXT,
    architecture: Architecture = PACKAGED,
    **sizes: int,
) -> str:
    n_train = sizes.get("n_train", 1000)
    counts = {"n_train": n_train, "n_unlabelled": 0, "max_rows": 5000, "n_labelled": n_train}
    named = columns or COLUMNS.get(kind, {"text": "text", "label": "label"})
    return project_params(
        text,
        Request(kind, named, Path("data")),
        ProjectTeacher(teacher, architecture, 512),
        Sizes(**{**counts, "n_examples": n_train, **sizes}),
        has_attentions=has_attentions,
    )


def updates(training: dict[str, Any], n_examples: int) -> int:
    return training["epochs"] * -(-n_examples // training["batch_size"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sequence_to_sequence"])
@pytest.mark.parametrize("has_attentions", [True, False])
def test_every_kind_has_students_that_it_can_serve(kind: Kind, has_attentions: bool) -> None:
    """Catches an objective, a head or a signal that this kind of task does not have."""
    text = made(kind, has_attentions=has_attentions)
    params = parse_params(text)
    check_params(params)
    assert params["task"] == {"kind": kind}
    assert params["data"]["columns"] == COLUMNS.get(kind, {"text": "text", "label": "label"})
    objectives = [set(student["objectives"]) for student in params["students"].values()]
    assert {"hard_label"} in objectives  # labels alone, to compare with
    matched = {"logit_match"} if TASKS[kind].predicts_numbers else {"soft_target"}
    assert {"hard_label", *matched} in objectives
    assert any("attentions" in one for one in objectives) == has_attentions
    assert ("attentions" in params["capture"]["signals"]) == has_attentions
    # Two students that are the same would be trained for nothing.
    settings = [repr(student) for student in params["students"].values()]
    assert len(set(settings)) == len(settings)


def test_the_rest_of_the_file_stays() -> None:
    """Catches a default or a comment that a new project loses, or another section's lines."""
    text = made()
    for first, last in (("# Everything", "data:"), ("augmentation:", "teacher:")):
        part = TEXT[TEXT.index(first) : TEXT.index(last)]
        assert part in text
    assert text.endswith(TEXT[TEXT.index("\nevaluation:") :])
    assert text.count("\n\n") == TEXT.count("\n\n")
    data = parse_params(text)["data"]
    assert data == {"source": "files", "path": "data", "columns": COLUMNS["classification"]}


def test_students_of_the_template_may_have_any_name() -> None:
    """Catches a default of this repository that new projects stumble over."""
    start, stop = TEXT.index("\nstudents:"), TEXT.index("\nevaluation:")
    other = "\nstudents:\n  x: {model: {n_layers: 9}, objectives: {attentions: {}}}\n"
    assert made(text=TEXT[:start] + other + TEXT[stop:]) == made()


@pytest.mark.parametrize("kind", ["classification", "token_classification", "multiple_choice"])
@pytest.mark.parametrize("n_train", [300, 311, 1500, 2000, 4801, 67_349])
def test_teacher_and_students_have_300_updates(kind: Kind, n_train: int) -> None:
    """Catches a few dozen updates, in which a new head learns nothing."""
    n_kept = min(n_train, 5000)
    params = parse_params(made(kind, n_train=n_train, n_labelled=n_kept, n_examples=n_kept))
    check_params(params)
    assert params["teacher"]["warmup_ratio"] == 0.1
    for section in ("teacher", "training"):
        assert 300 <= updates(params[section], n_kept) < 700
    for student in params["students"].values():
        assert updates({**params["training"], **student.get("training", {})}, n_kept) >= 300
    limit = {"train": 5000} if n_train > 5000 else None
    assert params["data"].get("max_rows") == limit


def test_few_rows_are_not_repeated_without_end() -> None:
    """Catches a hundred passes, and validations, over forty rows."""
    params = parse_params(made(n_train=40))
    assert params["teacher"]["epochs"] == params["training"]["epochs"] == 30


def test_few_labels_among_many_texts() -> None:
    """Catches students of labels alone whose batches hold one label, and a teacher trained by all.

    The teacher learns from the 300 labelled rows; students from the 5,000 unlabelled ones, too.
    """
    sizes = {"n_train": 300, "n_unlabelled": 6000, "n_labelled": 300, "n_examples": 5300}
    params = parse_params(made(**sizes))
    check_params(params)
    assert 300 <= updates(params["teacher"], 300) < 350
    assert 300 <= updates(params["training"], 5300) < 500
    assert params["data"]["max_rows"] == {"unlabelled": 5000}
    for student in params["students"].values():
        training = {**params["training"], **student.get("training", {})}
        if set(student["objectives"]) == {"hard_label"}:
            assert training["unlabelled_share"] == 0
            assert updates(training, 300) >= 300
        else:
            assert "hard_label" not in student["objectives"]
            assert "unlabelled_share" not in training and updates(training, 5300) >= 300
    most = {**sizes, "n_train": 5000, "n_labelled": 5000, "n_unlabelled": 300}
    students = parse_params(made(**most))["students"]
    assert not any("unlabelled_share" in one.get("training", {}) for one in students.values())


def test_another_teacher_is_named_everywhere() -> None:
    """Catches a tokenizer of another model, layers that no student needs, and steps too large."""
    base = PACKAGED.model_copy(update={"n_layers": 12, "hidden_size": 768})
    params, packaged = (parse_params(made(architecture=one)) for one in (base, PACKAGED))
    assert params["capture"]["signals"]["attentions"]["layers"] == [12]
    for section in ("teacher", "training"):
        assert params[section]["learning_rate"] < packaged[section]["learning_rate"]
    params = parse_params(made(teacher="org/bert"))
    assert params["teacher"]["checkpoint"] == params["tokenizer"]["checkpoint"] == "org/bert"


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 24])
@pytest.mark.parametrize("kind", ["classification", "regression", "multiple_choice"])
def test_teachers_of_any_depth(n_layers: int, kind: Kind) -> None:
    """Catches students with more layers than their teacher, and layers that it does not have."""
    teacher = PACKAGED.model_copy(update={"n_layers": n_layers})
    params = parse_params(made(kind, architecture=teacher))
    layers = params["capture"]["signals"]["attentions"]["layers"]
    models = [student["model"] for student in params["students"].values()]
    depths = {model["n_layers"] for model in models if "n_layers" in model}
    assert depths == {max(1, min(3, n_layers // 2))} and layers == [n_layers]


@pytest.mark.parametrize("name", ["a, b", "label: x", "null", "y", "评论", 'a "b" {c}', "3", "#"])
def test_columns_of_any_name(name: str) -> None:
    """Catches a name that YAML reads as something else, or that breaks the file."""
    text = made(columns={"text": name, "label": "label", "text_pair": name + "2"})
    columns = parse_section(DataSettings, parse_params(text)["data"], "data").columns
    assert (columns.text, columns.text_pair, columns.label) == (name, name + "2", "label")
