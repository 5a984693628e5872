"""Students that predict masked word pieces: their layers, heads, and embeddings that are both."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from pipeline.models.head import new_model
from pipeline.student.config import student_config
from pipeline.student.warm_start import copy_head, copy_teacher_layers, tied_names
from pipeline.tasks import TASKS
from tests.conftest import DECODERS, MODEL_TYPES, make_model
from tests.student.test_warm_start import in_layer, layer_of

TASK = TASKS["masked_lm"]
TYPES = sorted(set(MODEL_TYPES) - set(DECODERS))
N_TEACHER = 4


def save_teacher(folder: Path, model_type: str) -> PreTrainedModel:
    """Save a random model of four layers, none of whose tensors is like another's."""
    config = make_model(model_type, n_layers=N_TEACHER).config
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    assert isinstance(model, PreTrainedModel)
    return model


def make_student(folder: Path, layers: list[int]) -> PreTrainedModel:
    torch.manual_seed(7)
    return new_model(student_config(folder, len(layers), layers), TASK)


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("layers", [[1, 2], [2, 4]])
def test_each_tensor_is_the_named_layers(
    tmp_path: Path, model_type: str, layers: list[int]
) -> None:
    """Catches a prediction head left at random, or refused because its matrix is not stored."""
    teacher = save_teacher(tmp_path, model_type).state_dict()
    student = make_student(tmp_path, layers)
    copy_teacher_layers(student, tmp_path, layers)
    state = student.state_dict()
    for name, values in state.items():
        layer = layer_of(name)
        source = name if layer is None else in_layer(name, layers[layer - 1])
        assert torch.equal(values, teacher[source]), name
    assert len(tied_names(student)) > len(set(tied_names(student).values()))
    head = student.get_output_embeddings()
    assert head is not None
    assert head.weight is student.get_input_embeddings().weight


@pytest.mark.parametrize("model_type", sorted(set(TYPES) - {"albert"}))
def test_heads_are_the_prediction_head_and_the_last_output_block(
    tmp_path: Path, model_type: str
) -> None:
    """Catches layers copied under the name of heads, and a head without its transformation."""
    teacher = save_teacher(tmp_path, model_type).state_dict()
    student = make_student(tmp_path, [1, 2])
    fresh = {name: values.clone() for name, values in student.state_dict().items()}
    copied = copy_head(student, tmp_path, N_TEACHER)
    state, of_layers, of_head = student.state_dict(), set(), set()
    for name, values in state.items():
        layer = layer_of(name)
        source = name if layer is None else in_layer(name, N_TEACHER)
        is_copied = torch.equal(values, teacher[source])
        assert is_copied or torch.equal(values, fresh[name]), name
        if layer is not None and is_copied:
            assert layer == 2, name
            of_layers.add(name)
        elif not name.startswith(f"{student.base_model_prefix}."):
            assert is_copied, name
            of_head.add(name)
    n_in_layer = sum(layer_of(name) == 2 for name in state)
    assert 0 < len(of_layers) < n_in_layer / 2
    assert len(of_head) >= 4
    assert copied.keys() >= of_layers


def test_an_output_matrix_of_its_own_stays_its_own(tmp_path: Path) -> None:
    """Catches embeddings that are overwritten by the output matrix of an untied teacher."""
    model: Any = save_teacher(tmp_path / "tied", "bert")
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(torch.randn_like(head.weight))
    model.save_pretrained(tmp_path)
    stored: dict[str, Tensor] = load_file(tmp_path / "model.safetensors")
    student = make_student(tmp_path, [1, 2])
    copy_teacher_layers(student, tmp_path, [1, 2])
    state = student.state_dict()
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"):
        assert torch.equal(state[name], stored[name]), name
