"""Networks built from a store: whose embeddings they start with, and whether those learn."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.build import build_student
from pipeline.student.model import model_of
from pipeline.student.settings import ModelSettings
from pipeline.tasks import TASKS
from tests.conftest import MODEL_TYPES, make_model, make_tokenizer
from tests.student.own_models import OWN_MODELS

PAD_ID = 0
WORDS = 32
OTHER_WIDTHS = {"albert": 8, "electra": 8}
"""Of embeddings that the teacher itself projects to its 16 numbers."""

NAMES = ("word_embeddings.weight", "tok_embeddings.weight", "wte.weight", "embed_tokens.weight")

each_network = pytest.mark.parametrize("architecture", OWN_MODELS)


def save_teacher(store: Path, model_type: str) -> Path:
    """Write the part of a store that students start from; return its folder."""
    folder = store / TEACHER_FOLDER
    make_model(model_type).save_pretrained(folder)
    make_tokenizer(folder, tuple(f"word{number}" for number in range(WORDS - 5)))
    return folder


def settings_of(architecture: str, **model: Any) -> ModelSettings:
    sizes = {**OWN_MODELS[architecture].sizes, **model}
    return model_of({"architecture": architecture, **sizes}, "students.a")


@pytest.fixture
def manifest(even_store: Path) -> Manifest:
    """That of some store with two labels; networks read no more of it."""
    return read_manifest(even_store)


def build(
    settings: ModelSettings, manifest: Manifest, store: Path, said: list[str] | None = None
) -> PreTrainedModel:
    say = print if said is None else said.append
    torch.manual_seed(5)
    return build_student(settings, manifest, store, TASKS["classification"], say=say)


def embeddings_of(student: PreTrainedModel) -> Tensor:
    weight = student.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight


def teacher_embeddings(folder: Path) -> Tensor:
    """Return the tensor of the teacher that has a row for each word piece."""
    weights = load_file(folder / "model.safetensors")
    (name,) = [name for name in weights if name.endswith(NAMES)]
    assert weights[name].shape[0] == WORDS
    return weights[name]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_embeddings_are_the_teachers(tmp_path: Path, manifest: Manifest, model_type: str) -> None:
    """Catches a type whose word pieces have a name of their own, and positions taken for them."""
    theirs = teacher_embeddings(save_teacher(tmp_path, model_type))
    said: list[str] = []
    for architecture in OWN_MODELS:
        student = build(settings_of(architecture), manifest, tmp_path, said)
        ours = embeddings_of(student)
        assert ours.shape == (WORDS, OTHER_WIDTHS.get(model_type, 16))
        assert torch.equal(ours[1:], theirs[1:])
        assert theirs[PAD_ID].any() and not ours[PAD_ID].any()
        assert student.config.pad_token_id == PAD_ID
        assert student.config.id2label == {0: "negative", 1: "positive"}
        assert ours.dtype == torch.float32 and ours.requires_grad
        logits = student.eval()(torch.tensor([[7, 8, 9]])).logits
        assert logits.shape == (1, 2) and logits.isfinite().all()
    name = re.fullmatch(r"warm start: embeddings the teacher's (\S+) \((\d+), (\d+)\)", said[0])
    assert name is not None and name[1] in load_file(tmp_path / "teacher" / "model.safetensors")
    assert (int(name[2]), int(name[3])) == tuple(theirs.shape)


def test_embeddings_of_16_bits_become_float32(tmp_path: Path, manifest: Manifest) -> None:
    """Catches a network that rounds its small steps away."""
    folder = save_teacher(tmp_path, "bert")
    make_model("bert").bfloat16().save_pretrained(folder)
    student = build(settings_of("text_cnn"), manifest, tmp_path)
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}
    assert torch.equal(embeddings_of(student)[1:], teacher_embeddings(folder)[1:].float())


@each_network
@pytest.mark.parametrize("is_frozen", [True, False])
def test_frozen_embeddings_do_not_learn(
    tmp_path: Path, manifest: Manifest, architecture: str, is_frozen: bool
) -> None:
    """Catches embeddings that drift though they were frozen, and padding that is learned."""
    save_teacher(tmp_path, "bert")
    said: list[str] = []
    settings = settings_of(architecture, freeze_embeddings=is_frozen)
    student = build(settings, manifest, tmp_path, said).train()
    assert said[0].endswith(", frozen") == is_frozen
    before = {name: weight.detach().clone() for name, weight in student.named_parameters()}
    learned = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.1, weight_decay=0.1)
    ids = torch.tensor([[7, 8, 9, 10, 11], [12, 13, 14, PAD_ID, PAD_ID]])
    student(ids, ids != PAD_ID, labels=torch.tensor([0, 1])).loss.backward()
    gradient = embeddings_of(student).grad
    assert (gradient is None) == is_frozen
    assert gradient is None or (gradient[7:15].any(1).all() and not gradient[PAD_ID].any())
    optimizer.step()
    changed = {
        name for name, weight in student.named_parameters() if not weight.equal(before[name])
    }
    assert changed == set(before) - ({"embeddings.weight"} if is_frozen else set())
    assert not embeddings_of(student)[PAD_ID].any()


@each_network
def test_random_embeddings_need_no_weights(
    tmp_path: Path, manifest: Manifest, architecture: str
) -> None:
    """Catches random embeddings for which the teacher's weights are asked, or a width unheard."""
    folder = save_teacher(tmp_path, "bert")
    theirs = teacher_embeddings(folder)
    (folder / "model.safetensors").unlink()
    said: list[str] = []
    same = settings_of(architecture, embeddings="random", embedding_size=16)
    ours = embeddings_of(build(same, manifest, tmp_path, said))
    assert said == ["warm start: embeddings random"]
    assert ours.shape == theirs.shape and not ours[PAD_ID].any()
    assert not torch.isclose(ours[1:], theirs[1:]).all(1).any()
    wider = settings_of(architecture, embeddings="random")
    assert embeddings_of(build(wider, manifest, tmp_path)).shape == (WORDS, 300)


@each_network
def test_a_width_that_is_not_the_teachers_is_refused(
    tmp_path: Path, manifest: Manifest, architecture: str
) -> None:
    """Catches embeddings that are cut, or silently random, where another width is asked for."""
    save_teacher(tmp_path, "electra")
    assert embeddings_of(
        build(settings_of(architecture, embedding_size=8), manifest, tmp_path)
    ).shape == (WORDS, 8)
    with pytest.raises(SettingsError) as caught:
        build(settings_of(architecture, embedding_size=16), manifest, tmp_path)
    assert caught.value.faults == (
        "model.embedding_size: 16, but the teacher's embeddings are 8 wide; leave it out, or set "
        "embeddings to random",
    )


@each_network
def test_a_store_without_weights_is_refused_with_what_helps_a_network(
    tmp_path: Path, manifest: Manifest, architecture: str
) -> None:
    """Catches advice to set `warm_start`, which a network does not have."""
    folder = save_teacher(tmp_path, "bert")
    (folder / "model.safetensors").unlink()
    files = {name: file for name, file in manifest.teacher_files.items() if "safe" not in name}
    with pytest.raises(CheckpointError) as caught:
        build(
            settings_of(architecture),
            manifest.model_copy(update={"teacher_files": files}),
            tmp_path,
        )
    assert str(caught.value) == (
        f"{folder} holds no weights to start a student from. Set capture.warm_start to true and "
        "capture again, or students.NAME.model.embeddings to random."
    )
