"""What export() leaves behind, for a student as distill() writes it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from pipeline.core.errors import ExportError
from pipeline.core.stamp import stamp_in
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.export import export as exporting
from pipeline.export.export import export
from pipeline.export.int8 import Measured
from pipeline.export.settings import ExportSettings
from pipeline.tasks import TASKS
from pipeline.text.tokens import Tokens
from tests.student.own_models import OWN_MODELS
from tests.train.bench import Bench

INPUTS = {"student": "1" * 64}
KINDS: dict[str, dict[str, Any]] = {
    "transformer": {"n_layers": 2, "warm_start": "every"},
    "bilstm": {"architecture": "bilstm", **OWN_MODELS["bilstm"].sizes},
}


@pytest.fixture(scope="module")
def students(
    tmp_path_factory: pytest.TempPathFactory, even_store: Path, even_tokens: Tokens
) -> Path:
    """A folder with a distilled student of each of KINDS; not to be changed."""
    folder = tmp_path_factory.mktemp("shipped")
    bench = Bench(even_store, even_tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, model in KINDS.items():
            student = {"model": model, "objectives": {"soft_target": {}}}
            bench.run(folder / "students" / name, student=student, epochs=1)
    return folder / "students"


def run(student: Path, tokens: Tokens, folder: Path, **settings: Any) -> dict[str, Any]:
    """Export a student and return the metrics."""
    return export(
        student.name,
        student,
        tokens,
        TASKS["classification"],
        ExportSettings(**settings),
        EvaluationSettings(n_latency_repeats=1, n_latency_examples=4),
        folder,
        inputs=INPUTS,
    )


@pytest.fixture(scope="module")
def shipped(
    tmp_path_factory: pytest.TempPathFactory, students: Path, even_tokens: Tokens
) -> dict[str, Path]:
    """The exports of all students; not to be changed."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "why_not", lambda float32, int8: None)  # tiny files only grow
        for name in KINDS:
            run(students / name, even_tokens, folder / name, license="apache-2.0")
    return {name: folder / name for name in KINDS}


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics


@pytest.mark.parametrize("name", KINDS)
def test_metrics_are_those_of_the_files(shipped: dict[str, Path], name: str) -> None:
    """Catches figures of one file under the name of another."""
    metrics = metrics_of(shipped[name])
    assert (metrics["n_rows"], metrics["n_threads"]) == (20, torch.get_num_threads())
    for form, file in exporting.FILES.items():
        one = metrics[form]
        assert one["size_bytes"] == (shipped[name] / file).stat().st_size
        assert one["latency_ms"] > 0 and one["throughput_per_second"] > 0
        lost = metrics["pytorch"]["validation"]["accuracy"] - one["validation"]["accuracy"]
        assert one["lost_points"] == pytest.approx(100 * lost)
    assert 0 < metrics["float32"]["largest_difference"] <= 1e-4
    assert metrics["int8"]["largest_difference"] > metrics["float32"]["largest_difference"]
    assert stamp_in(shipped[name]).holds(INPUTS)


SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", KINDS)
def test_the_card_runs_as_written_where_nobody_knows_decant_or_torch(
    shipped: dict[str, Path], students: Path, name: str
) -> None:
    """Catches a card that does not work, or a folder that is not whole."""
    (snippet,) = SNIPPET.findall((shipped[name] / "README.md").read_text(encoding="utf-8"))
    texts = ["the film was bright", "a dull story and the acting was very cold though"]
    written = snippet.replace("A first text.", texts[0])
    written = written.replace("And another one, which is a little longer.", texts[1])
    assert all(f'"{text}"' in written for text in texts)
    hidden = "import sys; sys.modules.update(dict.fromkeys(('pipeline', 'stages', 'torch')))\n"
    seen = "print('LOGITS', logits.tolist())\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", hidden + written + seen],
        cwd=shipped[name],
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *lines, seen_logits = done.stdout.splitlines()
    logits = np.array(json.loads(seen_logits.removeprefix("LOGITS ")))
    model = AutoModelForSequenceClassification.from_pretrained(students / name).eval()
    tokenizer = AutoTokenizer.from_pretrained(students / name)
    with torch.no_grad():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    assert np.abs(logits - expected).max() <= 1e-4
    for line, text, row in zip(lines, texts, expected, strict=True):
        assert re.fullmatch(rf"(negative|positive) \(\d+%\): {text}", line)
        assert line.startswith(("negative", "positive")[int(row.argmax())])


def test_the_card_says_what_the_files_are(shipped: dict[str, Path], students: Path) -> None:
    """Catches a card that the Hub refuses, or whose figures are not the metrics'."""
    folder, metrics = shipped["transformer"], metrics_of(shipped["transformer"])
    card = ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "onnx")
    (accuracy, _) = card.data.eval_results
    assert accuracy.metric_value == round(metrics["float32"]["validation"]["accuracy"], 4)
    assert f"loses {metrics['int8']['lost_points']:.2f} points" in card.text
    for form in ("pytorch", "float32", "int8"):
        assert f"| {metrics[form]['latency_ms']:.2f} |" in card.text
    student_card = (students / "transformer" / "README.md").read_bytes()
    assert (folder / "STUDENT.md").read_bytes() == student_card


def test_what_is_slower_is_left_out_and_said(
    students: Path, even_tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a file that costs accuracy and gains nothing."""
    monkeypatch.setattr(
        exporting,
        "_measure",
        lambda models, *_: {form: Measured(9 - i, 1 + i, 1) for i, form in enumerate(models)},
    )
    metrics = run(students / "bilstm", even_tokens, tmp_path / "a")
    reason = "it is slower: 3.00 against 2.00 ms for one example"
    assert metrics["int8"]["why_not"] == reason
    assert 0 <= metrics["int8"]["validation"]["accuracy"] <= 1
    assert not (tmp_path / "a" / "model_int8.onnx").exists()
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert f"There is no file of 8-bit weights: {reason}." in card
    assert "model_int8" not in card


def test_int8_can_be_turned_off(students: Path, even_tokens: Tokens, tmp_path: Path) -> None:
    """Catches work for a file that nobody asked for."""
    metrics = run(students / "bilstm", even_tokens, tmp_path / "a", int8=False)
    assert "int8" not in metrics
    assert not (tmp_path / "a" / "model_int8.onnx").exists()


def test_a_file_of_other_weights_is_refused(
    students: Path, even_tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agreement must be able to fail, and what fails must not stay."""

    def write_other(student: PreTrainedModel, *args: Any) -> None:
        with torch.no_grad():
            student.get_parameter("classifier.bias").add_(0.01)
        write(student, *args)

    write = exporting.write_onnx
    monkeypatch.setattr(exporting, "write_onnx", write_other)
    with pytest.raises(ExportError, match=r"differ from PyTorch's by up to 0\.01 on 20 rows of"):
        run(students / "bilstm", even_tokens, tmp_path / "a")
    assert not list(tmp_path.iterdir())
