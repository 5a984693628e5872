"""Students of other tasks than single texts, exported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedModel

from pipeline.core.checkpoint import load_tokenizer
from pipeline.export.card import write_export_card
from pipeline.export.onnx_file import write_onnx
from pipeline.export.session import OnnxStudent
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows, pad_rows
from pipeline.models.predict import flat_logits, predict
from pipeline.tasks import TASKS
from pipeline.tasks.masked_lm import MASKED_LM
from pipeline.tasks.task import BY_TOKEN, Kind
from tests.asked_rows import masked_rows
from tests.conftest import make_rows
from tests.export.conftest import INPUTS
from tests.piece_tokens import make_piece_tokens
from tests.tasks.made_splits import LENGTHS, ROWS
from tests.tasks.small_tasks import KINDS, LABELS, NEW_KINDS, make_teacher

PRINTED = {
    "multi_label": r"(.*A first text\.\n.*And another one, .*\n)",
    "regression": r"(-?\d+\.\d{3}: A first text\.\n-?\d+\.\d{3}: And another one.*\n)",
    "token_classification": r"((B-BAD|B-GOOD|I-GOOD|O): (A|text|in|words|\.)\n){5}",
    "multiple_choice": r"(\d+%: One answer\.\n\d+%: Another one.*\n)",
    "question_answering": r"[Thea swrtndix.]+\n",  # a part of its text
    "masked_lm": r"(\d+%: \S+\n){5}",
}
EXPORTED = tuple(kind for kind in NEW_KINDS if not TASKS[kind].not_exported)


@pytest.mark.parametrize("kind", EXPORTED)
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
        found = exported.logits(inputs).numpy()
        assert found.shape == expected.shape
        assert found.ndim == (3 if task.predicts in {*BY_TOKEN, "piece"} else 2)
        # The largest difference that `export.session` takes for rounding.
        assert np.abs(found - expected).max() < 1e-4 < np.ptp(found) or len(lengths) == 1
    if task.predicts == "piece":
        _compare_pieces(student, exported, tmp_path)
    else:
        _compare(student, exported, kind, tmp_path)

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


def _compare(student: PreTrainedModel, exported: OnnxStudent, kind: Kind, teacher: Path) -> None:
    """Require the same logits for a whole split."""
    task = TASKS[kind]
    rows = ModelRows(ROWS, load_tokenizer(teacher), Inputs(0, has_token_types=True))
    whole, _ = flat_logits(student, rows, task, len(LABELS[kind]))
    again, _ = flat_logits(exported.logits, rows, task, len(LABELS[kind]))
    assert len(whole) == (sum(LENGTHS) if task.predicts in BY_TOKEN else len(LENGTHS))
    assert np.abs(whole - again).max() < 1e-4


def _compare_pieces(student: PreTrainedModel, exported: OnnxStudent, teacher: Path) -> None:
    """Require the same of all masked pieces: logits of masked tokens, of a file that gives all."""
    rows = make_piece_tokens(masked_rows((3, 17, 30, 9)), teacher).splits["train"]
    read = ModelRows(rows, load_tokenizer(teacher), Inputs(0, has_token_types=True))
    whole = predict(student, read, MASKED_LM, ()).in_vocabulary
    again = predict(exported.logits, read, MASKED_LM, ()).in_vocabulary
    assert whole is not None and again is not None
    assert len(whole.first) == len(rows.labels) > 10
    assert np.abs(whole.of_label - again.of_label).max() < 1e-4
    assert np.ptp(whole.of_label) > 1e-2
    assert (whole.first == again.first).all()


def test_what_writes_texts_is_not_exported() -> None:
    """Catches half of a model that is shipped as the whole."""
    assert [kind for kind in KINDS if TASKS[kind].not_exported] == ["sequence_to_sequence"]
