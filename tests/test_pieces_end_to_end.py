"""Models that predict word pieces, from texts to the report, under real DVC and git.

The masked texts are real ones where DECANT_PUBLIC_DATA names a folder with the data sets, else
the test's own.
"""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.reader import open_store
from pipeline.tasks.task import Kind
from tests.dvc_project import DvcProject
from tests.tasks.task_project import STORE, STUDENT, make_task_project
from tests.text.test_public_data import DATA

pytestmark = pytest.mark.timeout(1200)


def check_predictions(project: DvcProject, split: str, scores: dict[str, dict[str, float]]) -> None:
    """Fail unless a split's scores are those of plain sums over its predictions' file.

    Its logits are in the teacher's classes, of which the right piece is one as often as not.
    """
    path = project.folder / "artifacts" / "evaluations" / STUDENT / f"{split}.arrow"
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    store = open_store(project.folder / STORE)
    tokens = project.folder / "artifacts" / "tokens" / f"{split}.arrow"
    rows = pa.ipc.open_file(pa.memory_map(str(tokens))).read_all()
    labels = np.array([piece for row in rows["label"].to_pylist() for piece in row])
    keys = np.frombuffer(b"".join(rows["key"].to_pylist()), "V16")
    top = store.top_logits(store.find(keys))
    assert len(table) == len(labels) == len(top.target)
    surprise = (top.log_sum_exp - top.target).double().mean()
    assert scores["teacher"]["perplexity"] == pytest.approx(math.exp(surprise), rel=1e-6)
    is_right = top.pieces[:, 0].numpy() == labels
    if "accuracy" in scores["teacher"]:
        assert scores["teacher"]["accuracy"] == pytest.approx(is_right.mean())


@pytest.mark.parametrize("kind", ["masked_lm", "sequence_to_sequence"])
def test_a_project_runs_from_texts_to_report(kind: Kind, tmp_path: Path) -> None:
    """Catches a stage that knows labels only, and a teacher's score that is not its own."""
    data_set = "wikitext2_subset" if kind == "masked_lm" else None
    if data_set is not None and not (DATA / data_set).is_dir():
        data_set = None
    project = make_task_project(tmp_path, kind, data_set)
    ran = project.repro()
    assert ran[0] == "prepare" and ran[-1] == "report"
    measured = json.loads((project.folder / f"reports/metrics/{STUDENT}.json").read_bytes())
    assert measured["task"] == kind and set(measured["splits"]) == {"validation", "test"}
    for split, scores in measured["splits"].items():
        check_predictions(project, split, scores)
        assert 1 < scores["student"]["perplexity"] < 1000
        assert scores["fidelity"]
        for who in ("student", "teacher"):
            assert ("bleu" in scores[who]) == (kind == "sequence_to_sequence")
    report = (project.folder / "reports" / "report.md").read_text(encoding="utf-8")
    assert STUDENT in report and "perplexity" in report
    (signals,) = (line for line in report.splitlines() if line.startswith("- **Signals**"))
    assert all(f"logits/{name} (" in signals for name in ("top-8", "top-8-pieces", "target"))
    assert "up to date" in project.run("dvc", "repro")
    assert "is whole" in project.run("python", "-m", "stages.verify", STORE, "--recompute", "2")
    inspected = project.run("python", "-m", "stages.inspect", STORE)
    assert kind in inspected and "logits/top-" in inspected
    project.run("python", "-m", "stages.plan", "--no-time")
