"""What distill() writes for every kind of student, loaded in a process that knows only it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import pipeline.student.registration  # noqa: F401  # the Auto classes then know every student
from pipeline.core.checkpoint import load_tokenizer
from pipeline.text.tokens import Tokens
from tests.imports import ROOT
from tests.student.own_models import OWN_MODELS
from tests.train.bench import Bench
from tests.train.other_tokens import make_student_checkpoint

TEXT = "the film was bright"
STUDENTS: dict[str, dict[str, Any]] = {
    "transformer": {"n_layers": 2, "warm_start": "every"},
    "narrow": {"n_layers": 2, "hidden_size": 8, "warm_start": "none"},
    "checkpoint": {},
    "text_cnn": {"architecture": "text_cnn", **OWN_MODELS["text_cnn"].sizes},
    "bilstm": {"architecture": "bilstm", **OWN_MODELS["bilstm"].sizes, "freeze_embeddings": True},
}

ELSEWHERE = """
import json, sys
way, *folders = sys.argv[1:]
if way == "registered":
    import pipeline.student.registration
else:
    sys.modules["pipeline"] = sys.modules["stages"] = None  # importing them fails
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers import pipeline as make_pipeline
trust = {"trust_remote_code": True} if way == "trusted" else {}
for folder in folders:
    model = AutoModelForSequenceClassification.from_pretrained(folder, **trust)
    tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
    classify = make_pipeline("text-classification", folder, top_k=None, **trust)
    inputs = tokenizer("TEXT", return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0].tolist()
    print(json.dumps({
        "module": type(model).__module__,
        "logits": logits,
        "scores": {one["label"]: one["score"] for one in classify(["TEXT"])[0]},
    }))
""".replace("TEXT", TEXT)


@pytest.fixture(scope="module")
def students(
    tmp_path_factory: pytest.TempPathFactory, even_store: Path, even_tokens: Tokens
) -> Path:
    """A folder with a distilled student of every kind; not to be changed."""
    folder = tmp_path_factory.mktemp("kinds")
    checkpoint = make_student_checkpoint(folder / "own", labels=("a", "b", "c"))
    bench = Bench(even_store, even_tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, model in STUDENTS.items():
            chosen = model or {"checkpoint": str(checkpoint)}
            student = {"model": chosen, "objectives": {"hard_label": {}, "soft_target": {}}}
            bench.run(folder / "students" / name, student=student, epochs=1)
    return folder / "students"


def load_elsewhere(way: str, folders: list[Path], home: Path) -> list[dict[str, Any]]:
    """Return what a fresh process says of each folder, loaded in one of three ways."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HOME": str(home / "home"),
        "HF_MODULES_CACHE": str(home / "modules"),
        "HF_HUB_OFFLINE": "1",
    }
    if way == "registered":
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, way, *map(str, folders)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(folders) > 0
    return lines


@pytest.mark.parametrize(
    ("way", "names", "module"),
    [
        ("plain", ["transformer", "narrow", "checkpoint"], "transformers.models.bert."),
        ("registered", ["text_cnn", "bilstm"], "pipeline.student."),
        ("trusted", ["text_cnn", "bilstm"], "transformers_modules."),
    ],
)
def test_a_student_loads_where_nobody_knows_how_it_was_made(
    tmp_path: Path, students: Path, way: str, names: list[str], module: str
) -> None:
    """Catches a checkpoint without its code, tokenizer or label names, or of other weights."""
    said = load_elsewhere(way, [students / name for name in names], tmp_path)
    for name, found in zip(names, said, strict=True):
        assert found["module"].startswith(module), name
        model = AutoModelForSequenceClassification.from_pretrained(students / name).eval()
        with torch.no_grad():
            logits = model(**load_tokenizer(students / name)(TEXT, return_tensors="pt")).logits[0]
        # Another process may have another number of threads, and so another order of sums of
        # some 32 float32 terms, in two layers.
        assert found["logits"] == pytest.approx(logits.tolist(), abs=1e-5), name
        scores = dict(zip(("negative", "positive"), logits.softmax(0).tolist(), strict=True))
        assert found["scores"] == pytest.approx(scores, abs=1e-5), name
        assert scores["negative"] != pytest.approx(scores["positive"], abs=1e-3)


@pytest.mark.parametrize("name", STUDENTS)
def test_everything_lies_beside_the_weights(students: Path, name: str) -> None:
    """Catches a student that is told to be loaded by code, or a tokenizer, that was not saved."""
    folder = students / name
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    code = {file for file in files if file.endswith(".py")}
    assert code == ({f"{name}.py"} if name in OWN_MODELS else set())
    card = (folder / "README.md").read_text(encoding="utf-8")
    # Without it, the tokenizer's Auto class stops to ask whether it may run the model's code.
    assert ("pass `trust_remote_code=True` to both" in card) == (name in OWN_MODELS)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert ("auto_map" in config) == (name in OWN_MODELS)
