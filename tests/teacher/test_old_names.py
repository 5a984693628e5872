"""A teacher saved under old names gives what the same weights under today's names give."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.fingerprint import digest_folder, digest_tokenizer
from pipeline.core.weights import read_shapes
from pipeline.store.manifest import read_manifest
from pipeline.student.build import build_student
from pipeline.student.model import model_of
from pipeline.tasks import TASKS
from pipeline.teacher.finetune import finetune
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.tokens import Tokens
from tests.conftest import LABELS, capture_store, make_checkpoint, make_model, make_tokenizer
from tests.old_names import copy_of, rename, to_old_name

TASK = TASKS["classification"]
RENAMED = ("roberta", "distilbert", "electra", "albert", "mpnet", "deberta-v2")
"""Types beside BERT with modules called LayerNorm, whose tensors were gamma and beta once."""


class Made:
    """Teacher, store and students of one checkpoint."""

    def __init__(self, folder: Path, checkpoint: Path, tokens: Tokens, *, epochs: int) -> None:
        self.teacher, self.store = folder / "teacher", folder / "store"
        settings = TeacherSettings(
            checkpoint=str(checkpoint),
            epochs=epochs,
            batch_size=16,
            learning_rate=1e-2,
            validations_per_epoch=6,
        )
        self.metrics = finetune(
            checkpoint,
            tokens,
            TASK,
            settings,
            self.teacher,
            inputs={},
            device=torch.device("cpu"),
        )
        signals: dict[str, Any] = {
            "logits": {"encoding": "float32"},
            "cls": {"encoding": "float32"},
        }
        capture_store(self.store, self.teacher, tokens, signals=signals)

    def student(self, model: dict[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
        """Return a new student's tensors, and what is said of its start."""
        said: list[str] = []
        torch.manual_seed(0)
        student = build_student(
            model_of(model, "students.a"),
            read_manifest(self.store),
            self.store,
            TASK,
            say=said.append,
        )
        return student.state_dict(), said


def assert_same_students(old: Made, new: Made, model: dict[str, Any]) -> None:
    (found, said), (expected, expected_said) = old.student(model), new.student(model)
    assert said == expected_said and said
    assert found.keys() == expected.keys() and found
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "10KB"}])
def test_the_same_store_and_students(
    tmp_path: Path,
    tokens: Tokens,
    epochs: int,
    options: dict[str, Any],
) -> None:
    """Catches norms under names that no student looks for, or other weights than the others."""
    new = make_checkpoint(tmp_path / "base", n_layers=3)
    if options:
        make_tokenizer(tmp_path / "base")
        model = make_model("bert", changes={"id2label": dict(enumerate(LABELS))})
        (new / "model.safetensors").unlink()
        model.save_pretrained(new, **options)
    old = rename(copy_of(new, tmp_path / "old"), to_old_name)
    assert read_shapes(old).keys() != read_shapes(new).keys()
    one, other = (Made(tmp_path / f"of_{at.name}", at, tokens, epochs=epochs) for at in (old, new))
    assert one.metrics == other.metrics
    assert digest_folder(one.store) == digest_folder(other.store)
    assert len(digest_folder(one.store)) > 5
    for model_settings in (
        {"n_layers": 2, "warm_start": "every"},
        {"n_layers": 2, "warm_start": "heads"},
        {"architecture": "text_cnn", "n_filters": 4},
    ):
        assert_same_students(one, other, model_settings)


@pytest.mark.parametrize("kind", RENAMED)
def test_the_same_of_other_types(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, kind: str
) -> None:
    """Catches a type whose old names are mapped when it is loaded, and come back when saved."""
    new = tmp_path / "base"
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    make_model(kind, changes=names).save_pretrained(new)
    load_tokenizer(checkpoint).save_pretrained(new)
    assert digest_tokenizer(load_tokenizer(new)) == tokens.tokenizer
    old = rename(copy_of(new, tmp_path / "old"), to_old_name)
    assert any("gamma" in name for name in read_shapes(old))
    one, other = (Made(tmp_path / f"of_{at.name}", at, tokens, epochs=1) for at in (old, new))
    assert read_shapes(one.teacher).keys() == read_shapes(new).keys()
    assert digest_folder(one.store) == digest_folder(other.store)
    layers = {"n_layers": 2, "warm_start": "first"}
    assert_same_students(one, other, layers)


def test_a_store_with_old_names_starts_students(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a store of somebody else, captured when old names were kept, that starts none."""
    made = Made(tmp_path, checkpoint, tokens, epochs=0)
    model = {"n_layers": 2, "warm_start": "every"}
    expected, _ = made.student(model)
    rename(made.store / "teacher", to_old_name)
    found, _ = made.student(model)
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_a_student_checkpoint_with_old_names(
    tmp_path: Path, checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a student that is saved under old names, or begins with random norms."""
    made = Made(tmp_path, checkpoint, tokens, epochs=0)
    old = rename(copy_of(checkpoint, tmp_path / "old"), to_old_name)
    found, _ = made.student({"checkpoint": str(old)})
    expected, _ = made.student({"checkpoint": str(checkpoint)})
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], values) for name, values in expected.items())
