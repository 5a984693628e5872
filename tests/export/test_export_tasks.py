"""Students of other tasks than single texts, exported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.export.card import write_export_card
from pipeline.export.onnx_file import write_onnx
from pipeline.export.session import OnnxStudent
from pipeline.tasks import TASKS
from pipeline.tasks.head import load_trained
from pipeline.tasks.task import BY_TOKEN, Kind
from pipeline.text.padding import pad_rows
from pipeline.train.predict import predict, predict_by
from tests.conftest import make_rows
from tests.export.conftest import INPUTS
from tests.tasks.made_splits import LENGTHS, ROWS
from tests.tasks.small_tasks import LABELS, NEW_KINDS, make_teacher

PRINTED = {
    "multi_label": r"(.*A first text\.\n.*And another one, .*\n)",
    "regression": r"(-?\d+\.\d{3}: A first text\.\n-?\d+\.\d{3}: And another one.*\n)",
    "token_classification": r"((B-BAD|B-GOOD|I-GOOD|O): (A|text|in|words|\.)\n){5}",
    "multiple_choice": r"(\d+%: One answer\.\n\d+%: Another one.*\n)",
    "question_answering": r"[Thea swrtndix.]+\n",  # a part of its text
}


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_the_card_runs_the_file(kind: Kind, tmp_path: Path) -> None:
    """Catches a head for choices that cannot be traced, logits of words that are cut to one
    each row, and a card that shows how to run another task's student."""
    task = TASKS[kind]
    make_teacher(tmp_path, kind)
    student = load_trained(tmp_path, task)
    metadata = {"labels": str(list(LABELS[kind])).replace("'", '"'), "max_length": "64"}
    write_onnx(student, INPUTS, tmp_path / "model.onnx", metadata)
    exported = OnnxStudent(tmp_path / "model.onnx")
    for lengths in ((1,), (3, 17, 30)):
        inputs = pad_rows(make_rows(lengths), 0, has_token_types=True)
        expected = student(**inputs).logits.detach().numpy()
        found = exported.logits(inputs)
        assert found.shape == expected.shape
        assert found.ndim == (3 if task.predicts in BY_TOKEN else 2)
        # The largest difference that `export.agreement` takes for rounding.
        assert np.abs(found - expected).max() < 1e-4 < np.ptp(found) or len(lengths) == 1
    whole = predict(student, ROWS, 0, predicts=task.predicts, has_token_types=True)
    again = predict_by(
        exported.logits,
        ROWS,
        0,
        predicts=task.predicts,
        n_labels=len(LABELS[kind]),
        has_token_types=True,
    )
    assert len(whole) == (sum(LENGTHS) if task.predicts in BY_TOKEN else len(LENGTHS))
    assert np.abs(whole - again).max() < 1e-4

    one = {
        "size_bytes": 1,
        "latency_ms": 1.0,
        "throughput_per_second": 1.0,
        "validation": dict.fromkeys(task.metrics, 0.5),
        "largest_difference": 0.0,
    }
    metrics = {"student": "a", "task": kind, "opset": 18, "n_rows": 1, "n_threads": 1}
    metrics |= {"max_length": 64, "pytorch": one, "float32": one}
    write_export_card(tmp_path, metrics, {"float32": "model.onnx"}, licence="unknown")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(PRINTED[kind], done.stdout), done.stdout
