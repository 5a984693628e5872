"""Students that are a checkpoint of their own: what they can be compared by, and their head."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.models.limits import most_tokens
from pipeline.objectives.settings import AttentionsObjectiveSettings
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.student.build import build_student
from pipeline.student.model import model_of, models_of
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS
from pipeline.train.settings import ObjectivesSettings
from tests.conftest import make_model
from tests.train.other_tokens import make_student_checkpoint


def settings_of(checkpoint: Path) -> ModelSettings:
    return model_of({"checkpoint": str(checkpoint)}, "students.a")


def build(checkpoint: Path, store: Path, said: list[str]) -> tuple[Any, dict[str, Tensor]]:
    """Return a new student, and the weights of the checkpoint it is."""
    student = build_student(
        settings_of(checkpoint),
        read_manifest(store),
        store,
        TASKS["classification"],
        say=said.append,
    )
    return student, load_file(checkpoint / "model.safetensors")


def test_the_student_is_the_checkpoint(tmp_path: Path, even_store: Path) -> None:
    """Catches a checkpoint whose weights, widths or head are replaced without need."""
    said: list[str] = []
    student, weights = build(make_student_checkpoint(tmp_path / "own"), even_store, said)
    assert said == [f"warm start: all tensors are those of {tmp_path / 'own'}"]
    state = student.state_dict()
    assert state.keys() == weights.keys() and len(state) > 20
    assert all(torch.equal(values, weights[name]) for name, values in state.items())
    assert student.config.id2label == {0: "negative", 1: "positive"}
    models = models_of(settings_of(tmp_path / "own"), read_manifest(even_store))
    assert (models.student.n_layers, models.student.hidden_size, models.student.n_heads) == (
        2,
        8,
        2,
    )


def test_a_head_for_other_labels_starts_at_random(tmp_path: Path, even_store: Path) -> None:
    """Catches a head of three labels for two, and one that is replaced without a word."""
    folder = make_student_checkpoint(tmp_path / "own", labels=("a", "b", "c"))
    said: list[str] = []
    torch.manual_seed(0)
    student, weights = build(folder, even_store, said)
    assert said == [
        f"warm start: all tensors are those of {folder}; classifier.bias, classifier.weight start "
        "at random"
    ]
    state = student.state_dict()
    assert state["classifier.weight"].shape == (2, 8) and state["classifier.weight"].any()
    rest = set(weights) - {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(state[name], weights[name]) for name in rest)
    torch.manual_seed(0)
    again, _ = build(folder, even_store, [])
    assert torch.equal(again.state_dict()["classifier.weight"], state["classifier.weight"])


@pytest.mark.parametrize("is_teachers", [True, False])
def test_token_level_objectives_need_the_teachers_tokenizer(
    tmp_path: Path, even_store: Path, is_teachers: bool
) -> None:
    """Catches a checkpoint with the teacher's tokenizer that is refused with all others."""
    folder = make_student_checkpoint(tmp_path / "own", is_teachers_tokenizer=is_teachers)
    manifest = read_manifest(even_store)
    digest = digest_tokenizer(load_tokenizer(folder))
    assert (digest == manifest.identity.tokenizer) == is_teachers
    objectives = ObjectivesSettings(
        attentions=AttentionsObjectiveSettings(heads="mean", layer_map=((1, 2), (2, 4)))
    )
    models = models_of(settings_of(folder), manifest)
    if is_teachers:
        assert objectives.needs(models).student == {Array(ATTENTIONS, 1), Array(ATTENTIONS, 2)}
    else:
        with pytest.raises(ValueError, match="has another tokenizer than the teacher"):
            objectives.needs(models)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path, even_store: Path) -> None:
    """Catches a folder without config, or without weights, that ends in a traceback."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError) as caught:
        models_of(settings_of(tmp_path / "empty"), read_manifest(even_store))
    assert str(caught.value) == (
        f"{tmp_path / 'empty'} holds no config.json. Name a folder written by save_pretrained."
    )
    folder = make_student_checkpoint(tmp_path / "own")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(folder))} cannot be loaded: "):
        build_student(
            settings_of(folder),
            read_manifest(even_store),
            even_store,
            TASKS["classification"],
            say=print,
        )


@pytest.mark.parametrize(
    ("model_type", "most"),
    [
        ("bert", 66),
        ("distilbert", 66),
        ("albert", 66),
        ("electra", 66),
        ("gpt2", 66),
        ("roberta", 64),
        ("xlm-roberta", 64),
        ("mpnet", 64),
        ("deberta-v2", None),
    ],
)
@torch.no_grad()
def test_a_model_reads_as_many_tokens_as_is_said(model_type: str, most: int | None) -> None:
    """Catches a limit that is off by the positions which some types leave to padding."""
    model = make_model(model_type)
    assert most_tokens(model.config) == most
    for n_tokens in (most or 200, (most or 200) + 1):
        ids = torch.full((1, n_tokens), 7)
        if most is None or n_tokens == most:
            assert model(ids).logits.isfinite().all()
        else:
            with pytest.raises((IndexError, RuntimeError)):
                model(ids)
