"""A student's config: kinds of layers cut to the student's, and what cannot be made."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.core.errors import CheckpointError
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.build import build_student
from pipeline.student.config import student_config
from pipeline.student.settings import TransformerSettings
from pipeline.tasks import TASKS
from tests.conftest import MODEL_TYPES, make_model, make_rows

N_TEACHER = 4
LOCAL, GLOBAL = "sliding_attention", "full_attention"
KINDS = {
    "modernbert": [GLOBAL, LOCAL, LOCAL, GLOBAL],
    "qwen2": [GLOBAL, LOCAL, LOCAL, LOCAL],
    "qwen3": [GLOBAL, GLOBAL, GLOBAL, GLOBAL],
}


def save_teacher(folder: Path, model_type: str, **changes: Any) -> Path:
    make_model(model_type, n_layers=N_TEACHER, changes=changes).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("warm_start", ["first", (2, 4), "none"])
def test_a_student_of_every_type_is_built_from_a_store(
    tmp_path: Path, even_store: Path, model_type: str, warm_start: Any
) -> None:
    """Catches a config with a list for the teacher's layers, which no student can be made of."""
    teacher = save_teacher(tmp_path / TEACHER_FOLDER, model_type)
    settings = TransformerSettings(n_layers=2, warm_start=warm_start)
    torch.manual_seed(7)
    student = build_student(
        settings, read_manifest(even_store), tmp_path, TASKS["classification"], say=print
    )
    assert student.config.num_hidden_layers == 2
    if model_type in KINDS:
        kinds = [KINDS[model_type][layer] for layer in ((1, 3) if warm_start == (2, 4) else (0, 1))]
        assert student.config.layer_types == kinds
    student.save_pretrained(tmp_path / "student")  # checks the config once more
    ids = torch.from_numpy(make_rows([9])[0][0].astype("int64"))[None]
    outputs = student.eval()(ids, output_hidden_states=True)
    assert outputs.logits.shape == (1, 2) and len(outputs.hidden_states) == 3
    assert torch.isfinite(outputs.logits).all()
    head, weights = student.state_dict(), load_file(teacher / "model.safetensors")
    names = [name for name in head if re.match(r"(classifier|score).*weight$", name)]
    assert names
    for name in names:
        assert torch.equal(head[name], weights[name]) == (warm_start != "none")


def test_a_student_of_a_16_bit_teacher_is_float32(tmp_path: Path, even_store: Path) -> None:
    """Catches a student whose weights round small steps away."""
    folder = tmp_path / TEACHER_FOLDER
    make_model("llama", n_layers=N_TEACHER).bfloat16().save_pretrained(folder)
    assert load_file(folder / "model.safetensors")["score.weight"].dtype == torch.bfloat16
    settings = TransformerSettings(n_layers=2)
    student = build_student(
        settings, read_manifest(even_store), tmp_path, TASKS["classification"], say=print
    )
    assert {weight.dtype for weight in student.parameters()} == {torch.float32}
    assert student.config.dtype == torch.float32


@pytest.mark.parametrize(
    ("model_type", "n_layers", "kinds"),
    [("qwen3", 6, [GLOBAL] * 6), ("modernbert", 4, KINDS["modernbert"])],
)
def test_without_a_warm_start_a_student_may_be_deep(
    tmp_path: Path, model_type: str, n_layers: int, kinds: list[str]
) -> None:
    """Catches a student that is refused although all its layers are of one kind."""
    config = student_config(save_teacher(tmp_path, model_type), n_layers, [])
    assert config.num_hidden_layers == n_layers and config.layer_types == kinds


@pytest.mark.parametrize(
    ("model_type", "changes", "n_layers", "layers", "message"),
    [
        (
            "modernbert",
            {},
            5,
            [],
            "its config lists layer_types of 4 layers, a student of 5 has no kind for the others. "
            "Set students.NAME.model.n_layers to 4 or less.",
        ),
        (
            "modernbert",
            {},
            2,
            [2, 1],
            "the first layer of a ModernBERT has no norm before its attention, so no other layer "
            "can start from it. Name layer 1 only first in students.NAME.model.warm_start.",
        ),
        (
            "albert",
            {"num_hidden_groups": 2},
            2,
            [1, 2],
            "its layers share their weights in 2 groups, which fewer layers would use otherwise. "
            "Set students.NAME.model.warm_start to none.",
        ),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            2,
            [1, 3],
            "its attention is scaled by the layer's number (scale_attn_by_inverse_layer_idx), so "
            "a layer cannot be moved. Set students.NAME.model.warm_start to first or none.",
        ),
    ],
)
def test_refuses_what_cannot_be_made(
    tmp_path: Path,
    model_type: str,
    changes: dict[str, Any],
    n_layers: int,
    layers: list[int],
    message: str,
) -> None:
    """Catches a student whose layers compute something else than those they start from."""
    teacher = save_teacher(tmp_path, model_type, **changes)
    with pytest.raises(CheckpointError, match=f"^{re.escape(f'{teacher}: {message}')}$"):
        student_config(teacher, n_layers, layers)
