"""Every kind of task but single texts, from rows to the report, under real DVC and git.

One small project for each kind, with a tiny random teacher and one student. Words and
questions are real ones where DECANT_PUBLIC_DATA names a folder with the data sets, else
the test's own.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as entity_f1
from sklearn.metrics import accuracy_score, f1_score, mean_squared_error

from pipeline.tasks import TASKS
from pipeline.tasks.task import BY_TOKEN, Kind
from tests.dvc_project import DvcProject
from tests.squad_scores import exact_match, f1
from tests.tasks.task_project import LOOKED_INTO, PUBLIC, STORE, STUDENT, make_task_project
from tests.text.test_public_data import DATA

pytestmark = pytest.mark.timeout(1200)

OWN: tuple[Kind, ...] = (
    "multi_label",
    "regression",
    "token_classification",
    "multiple_choice",
    "question_answering",
)


def read_predictions(project: DvcProject, split: str) -> dict[str, np.ndarray]:
    """Return the labelled predictions of a split: `row`, `label`, and logits of both models."""
    path = project.folder / "artifacts" / "evaluations" / STUDENT / f"{split}.arrow"
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    logits = [f"{who}_logits" for who in ("student", "teacher")]
    read = {name: np.array(table[name].to_pylist()) for name in ("row", "label", *logits)}
    is_number = np.issubdtype(read["label"].dtype, np.floating)
    kept = ~np.isnan(read["label"]) if is_number else read["label"] >= 0
    assert kept.sum() > 0
    return {name: values[kept] for name, values in read.items()}


Labels = tuple[str, ...]
Scores = dict[str, float]


def of_classes(rows: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Labels) -> Scores:
    return {"accuracy": accuracy_score(labels, logits.argmax(1))}


def of_pairs(rows: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Labels) -> Scores:
    own = of_classes(rows, labels, logits, names)
    return {**own, "f1": f1_score(labels, logits.argmax(1), zero_division=0.0)}


def of_labels(rows: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Labels) -> Scores:
    truth, found = (one.reshape(-1, len(names)) for one in (labels, logits[:, 1] > logits[:, 0]))
    occurring = np.flatnonzero(truth.any(0))
    return {
        "micro_f1": f1_score(truth, found, average="micro", zero_division=0.0),
        "macro_f1": f1_score(truth, found, average="macro", labels=occurring, zero_division=0.0),
        "exact_match": accuracy_score(truth, found),
    }


def of_numbers(rows: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Labels) -> Scores:
    found = logits[:, 0]
    return {
        "pearson": pearsonr(labels, found).statistic,
        "spearman": spearmanr(labels, found).statistic,
        "mean_squared_error": mean_squared_error(labels, found),
    }


def of_words(rows: np.ndarray, labels: np.ndarray, logits: np.ndarray, names: Labels) -> Scores:
    truth, found = (
        [[names[one] for one in numbers[rows == row]] for row in np.unique(rows)]
        for numbers in (labels, logits.argmax(1))
    )
    own = of_classes(rows, labels, logits, names)
    return {**own, "entity_f1": entity_f1(truth, found, zero_division=0)}


def of_answers(project: DvcProject, split: str, read: dict[str, np.ndarray], who: str) -> Scores:
    """Return SQuAD's scores of the texts between the likeliest tokens of a question's windows."""
    path = project.folder / "artifacts" / "tokens" / f"{split}.arrow"
    rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
    assert any(row["window"] for row in rows)
    number, questions, empty = -1, {}, {}
    best: dict[int, tuple[float, str]] = {}
    for place, row in enumerate(rows):
        number += row["window"] == 0
        if row["answers"] is None:
            continue
        questions[number] = row["answers"] or [""]
        start, end = read[f"{who}_logits"][read["row"] == place].astype(float)
        empty[number] = min(empty.get(number, np.inf), start[0] + end[0])
        tokens = [token for token, where in enumerate(row["char_starts"]) if where >= 0]
        for first in tokens:
            for last in range(first, tokens[-1] + 1):
                found = row["text_pair"][row["char_starts"][first] : row["char_ends"][last]]
                total = start[first] + end[last]
                if number not in best or total > best[number][0]:
                    best[number] = (total, found)
    assert [""] in questions.values()  # so that an answer may be empty
    pairs = [
        (best[one][1] if best[one][0] > empty[one] else "", texts)
        for one, texts in questions.items()
    ]
    return {
        "answer_f1": float(np.mean([f1(*pair) for pair in pairs])),
        "answer_exact_match": float(np.mean([exact_match(*pair) for pair in pairs])),
    }


REFERENCES: dict[Kind, Callable[[np.ndarray, np.ndarray, np.ndarray, Labels], Scores]] = {
    "classification": of_pairs,
    "multi_label": of_labels,
    "regression": of_numbers,
    "token_classification": of_words,
    "multiple_choice": of_classes,
}


@pytest.mark.parametrize(
    ("kind", "data_set"),
    [
        *((kind, None) for kind in OWN),
        *((kind, name) for name, (kind, _) in PUBLIC.items() if kind in REFERENCES),
    ],
)
def test_a_project_runs_from_rows_to_report(
    kind: Kind, data_set: str | None, tmp_path: Path
) -> None:
    """Catches a stage that knows single texts only, and a score that is not the reference's."""
    if data_set is not None and not (DATA / data_set).is_dir():
        pytest.skip(f"{DATA / data_set} is not here; DECANT_PUBLIC_DATA names the folder above it")
    has_public = any((DATA / name).is_dir() for name, (own, _) in PUBLIC.items() if own == kind)
    if data_set is None and has_public:
        pytest.skip("the public rows of this task are here, and the same is done with them")
    project = make_task_project(tmp_path, kind, data_set)
    ran = project.repro()
    assert ran[0] == "prepare" and ran[-1] == "report"
    assert set(ran) >= {f"{stage}@{STUDENT}" for stage in ("distill", "evaluate")}
    assert (f"export@{STUDENT}" in ran) == (kind == LOOKED_INTO)

    measured = json.loads((project.folder / f"reports/metrics/{STUDENT}.json").read_bytes())
    names = tuple(measured["labels"])
    assert measured["task"] == kind and set(measured["splits"]) == {"validation", "test"}
    for split, scores in measured["splits"].items():
        read = read_predictions(project, split)
        for who in ("student", "teacher"):
            if kind == "question_answering":
                expected = of_answers(project, split, read, who)
            else:
                logits = read[f"{who}_logits"]
                expected = REFERENCES[kind](read["row"], read["label"], logits, names)
            found = {name: scores[who][name] for name in expected}
            # The reference of pearson sums in another order; logits are stored as float32.
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), f"{split} {who}"
            assert scores["n_labelled"] == len(read["label"])
    report = (project.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert STUDENT in report and "eacher" in report
    (signals,) = (line for line in report.splitlines() if line.startswith("- **Signals**"))
    of_logits = "logits/tokens (float32" if TASKS[kind].predicts in BY_TOKEN else "logits (float32"
    assert of_logits in signals

    is_of_words = TASKS[kind].predicts in BY_TOKEN
    folder = project.folder / STORE / "logits"
    assert (folder / "tokens").is_dir() == is_of_words
    assert (folder / "00000").is_dir() != is_of_words
    if kind == LOOKED_INTO:
        check_commands(project, kind)


def check_commands(project: DvcProject, kind: Kind) -> None:
    """Fail unless every command that reads a store reads that of a finished project."""
    assert "up to date" in project.run("dvc", "repro")
    verified = project.run("python", "-m", "stages.verify", STORE, "--recompute", "2")
    assert "is whole" in verified
    assert "logits" in project.run("python", "-m", "stages.plan", "--no-time")
    inspected = project.run("python", "-m", "stages.inspect", STORE)
    assert kind in inspected and "logits/tokens" in inspected
    project.run("python", "-m", "stages.coverage", STORE)
    table = pa.ipc.open_file(
        pa.memory_map(str(project.folder / "artifacts/tokens/validation.arrow"))
    ).read_all()
    key = table["key"][0].as_py().hex()
    assert "teacher  " in project.run("python", "-m", "stages.show", STORE, "--row", key)
