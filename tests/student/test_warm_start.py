"""A student's first weights: which teacher layer each of its layers starts from."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.models.architecture import read_architecture
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.build import build_student
from pipeline.student.config import student_config
from pipeline.student.settings import TransformerSettings
from pipeline.student.warm_start import copy_teacher_layers
from pipeline.tasks import TASKS
from tests.conftest import MODEL_TYPES, make_model, make_rows
from tests.same_model import assert_same_model

N_TEACHER = 4
TASK = TASKS["classification"]


def save_teacher(folder: Path, model_type: str, **options: Any) -> Path:
    make_model(model_type, n_layers=N_TEACHER).save_pretrained(folder, **options)
    return folder


def make_student(teacher: Path, layers: list[int]) -> PreTrainedModel:
    torch.manual_seed(7)
    config = student_config(teacher, len(layers), layers)
    model = AutoModelForSequenceClassification.from_config(config)
    assert isinstance(model, PreTrainedModel)
    return model


LAYER = re.compile(r"\.(?:layer|layers|h)\.([0-9]+)\.")


def layer_of(name: str) -> int | None:
    """Return the layer, from 1, that a parameter called `....layer.3....` belongs to."""
    match = LAYER.search(name)
    return int(match[1]) + 1 if match else None


def in_layer(name: str, layer: int) -> str:
    return LAYER.sub(lambda match: match[0].replace(match[1], str(layer - 1)), name)


def check_started_from(
    student: dict[str, Tensor], teacher: dict[str, Tensor], layers: list[int]
) -> None:
    """Check that every tensor is the named teacher layer's, and no other layer's."""
    for name, values in student.items():
        layer = layer_of(name)
        if layer is None:
            assert torch.equal(values, teacher[name]), name
            continue
        for number in range(1, N_TEACHER + 1):
            source = teacher.get(in_layer(name, number))
            is_equal = source is not None and torch.equal(values, source)
            assert is_equal == (number == layers[layer - 1]), name


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("layers", [[1, 2], [2, 4], [4, 2, 2]])
def test_each_tensor_is_the_named_layers(
    tmp_path: Path, model_type: str, layers: list[int]
) -> None:
    """Catches layers copied in another order, off by one, or not at all for some model type."""
    teacher = save_teacher(tmp_path, model_type)
    student = make_student(teacher, layers)
    fresh = {name: values.clone() for name, values in student.state_dict().items()}
    copy_teacher_layers(student, teacher, layers)
    state = student.state_dict()
    every_layer = {None} if model_type == "albert" else {None, *range(1, len(layers) + 1)}
    assert {layer_of(name) for name in state} == every_layer
    check_started_from(state, load_file(teacher / "model.safetensors"), layers)
    assert not any(torch.equal(values, fresh[name]) for name, values in state.items())


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@torch.no_grad()
def test_a_student_of_the_first_layers_computes_what_the_teachers_do(
    tmp_path: Path, model_type: str
) -> None:
    """Catches layers that attend otherwise in the student: local for global, another scale."""
    teacher = save_teacher(tmp_path, model_type)
    student = make_student(teacher, [1, 2]).eval()
    copy_teacher_layers(student, teacher, [1, 2])
    ids = torch.from_numpy(make_rows([12])[0][0].astype("int64"))[None]
    theirs = make_model(model_type, n_layers=N_TEACHER)(ids, output_hidden_states=True)
    ours = student(ids, output_hidden_states=True)
    assert len(ours.hidden_states) == 3 and len(theirs.hidden_states) == 5
    assert torch.equal(ours.hidden_states[1], theirs.hidden_states[1])
    # Of the last layer some models give the states after their final norm.
    if model_type not in ("gpt2", "llama", "modernbert", "qwen2", "qwen3"):
        assert torch.equal(ours.hidden_states[2], theirs.hidden_states[2])
    assert (ours.hidden_states[2] - ours.hidden_states[1]).abs().max() > 0.1


def test_reads_weights_from_several_files(tmp_path: Path) -> None:
    """Catches a teacher too large for one file, of which only the first is read."""
    teacher = save_teacher(tmp_path, "bert", max_shard_size="8KB")
    files = sorted(teacher.glob("*.safetensors"))
    assert len(files) > 2
    weights = {name: values for path in files for name, values in load_file(path).items()}
    student = make_student(teacher, [2, 4])
    copy_teacher_layers(student, teacher, [2, 4])
    check_started_from(student.state_dict(), weights, [2, 4])


@pytest.mark.parametrize(
    ("warm_start", "n_student", "n_teacher", "layers"),
    [
        ("first", 3, 12, [1, 2, 3]),
        ("first", 4, 4, [1, 2, 3, 4]),
        ("every", 6, 12, [2, 4, 6, 8, 10, 12]),
        ("every", 3, 4, [1, 2, 4]),
        ("every", 1, 4, [4]),
        ((12, 1, 1), 3, 12, [12, 1, 1]),
        ("none", 3, 12, []),
        ("none", 14, 12, []),
    ],
)
def test_which_layers_a_name_means(
    warm_start: Any, n_student: int, n_teacher: int, layers: list[int]
) -> None:
    """Catches `every` that starts with layer 1, or `first` counted from 0."""
    settings = TransformerSettings(n_layers=n_student, warm_start=warm_start)
    assert settings.teacher_layers(n_teacher) == layers


@pytest.mark.parametrize(
    ("warm_start", "n_student", "message"),
    [
        (
            (1, 2),
            3,
            "warm_start: lists teacher layers 1, 2 for a student of 3 layers; give 3 numbers from "
            "1 to 4",
        ),
        (
            (1, 5),
            2,
            "warm_start: lists teacher layers 1, 5 for a student of 2 layers; give 2 numbers from "
            "1 to 4",
        ),
        (
            (0, 1),
            2,
            "warm_start: lists teacher layers 0, 1 for a student of 2 layers; give 2 numbers from "
            "1 to 4",
        ),
        (
            "first",
            5,
            "warm_start: 'first' needs 5 teacher layers, the teacher has 4; use fewer layers, a "
            "list, or none",
        ),
        (
            "every",
            5,
            "warm_start: 'every' needs 5 teacher layers, the teacher has 4; use fewer layers, a "
            "list, or none",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(warm_start: Any, n_student: int, message: str) -> None:
    """Catches layer 0 taken for the last one, and layers left at random without a word."""
    with pytest.raises(SettingsError) as raised:
        TransformerSettings(n_layers=n_student, warm_start=warm_start).teacher_layers(N_TEACHER)
    assert raised.value.faults == (message,)


def test_refuses_a_store_without_weights(tmp_path: Path) -> None:
    """Catches a random student where a warm one was asked for."""
    teacher = save_teacher(tmp_path, "bert")
    student = make_student(teacher, [1, 2])
    (teacher / "model.safetensors").unlink()
    message = (
        f"{teacher} holds no weights to start a student from. Set capture.warm_start to true and "
        "capture again, or students.NAME.model.warm_start to none."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        copy_teacher_layers(student, teacher, [1, 2])


def test_refuses_a_tensor_that_is_absent(tmp_path: Path) -> None:
    """Catches one tensor of many that stays random."""
    teacher = save_teacher(tmp_path, "bert")
    weights = load_file(teacher / "model.safetensors")
    del weights["bert.encoder.layer.3.output.dense.bias"]
    del weights["classifier.bias"]
    save_file(weights, teacher / "model.safetensors")
    student = make_student(teacher, [2, 4])
    message = (
        f"{teacher} lacks weights for 2 tensors of the student, such as "
        "bert.encoder.layer.1.output.dense.bias"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        copy_teacher_layers(student, teacher, [2, 4])


def test_refuses_a_tensor_of_another_shape(tmp_path: Path) -> None:
    """Catches a broadcast, which would fill a matrix with copies of a row."""
    teacher = save_teacher(tmp_path, "bert")
    config: Any = AutoConfig.from_pretrained(teacher)
    config.num_hidden_layers, config.intermediate_size = 2, 48
    student = AutoModelForSequenceClassification.from_config(config)
    message = (
        f"{teacher}: the tensor for the student's bert.encoder.layer.0.intermediate.dense.bias "
        "has shape (32,), not (48,)"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        copy_teacher_layers(student, teacher, [2, 4])


def build(settings: TransformerSettings, store: Path) -> dict[str, Tensor]:
    """Return the weights of a new student of a store's teacher."""
    return build_student(settings, read_manifest(store), store, TASK, say=print).state_dict()


@pytest.mark.parametrize(("warm_start", "layers"), [("first", [1, 2]), ("every", [2, 4])])
def test_a_student_starts_from_the_store(
    even_store: Path, warm_start: Any, layers: list[int]
) -> None:
    """Catches settings that do not reach the weights: only the store is read."""
    settings = TransformerSettings(n_layers=2, warm_start=warm_start)
    student = build(settings, even_store)
    teacher = load_file(even_store / TEACHER_FOLDER / "model.safetensors")
    query = "bert.encoder.layer.{}.attention.self.query.weight"
    for ours, theirs in enumerate(layers, start=1):
        is_equal = [
            torch.equal(student[query.format(ours - 1)], teacher[query.format(number - 1)])
            for number in range(1, N_TEACHER + 1)
        ]
        assert is_equal == [number == theirs for number in range(1, N_TEACHER + 1)]
    assert torch.equal(student["classifier.weight"], teacher["classifier.weight"])


def test_without_a_warm_start_nothing_is_the_teachers(even_store: Path) -> None:
    """Catches a warm start under the name of a cold one, and weights not from the seed."""

    def draw(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        settings = TransformerSettings(n_layers=2, warm_start="none")
        return build(settings, even_store)

    student, again, other = draw(1), draw(1), draw(2)
    teacher = load_file(even_store / TEACHER_FOLDER / "model.safetensors")
    drawn = [name for name, values in student.items() if values.ndim == 2]
    assert len(drawn) > 10
    for name in drawn:
        assert torch.equal(student[name], again[name])
        assert not torch.equal(student[name], other[name])
        assert not torch.equal(student[name], teacher[name])


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_saved_student_is_a_plain_checkpoint(tmp_path: Path, model_type: str) -> None:
    """Catches a config that still has the teacher's depth, or a class of our own."""
    teacher = save_teacher(tmp_path / "teacher", model_type)
    student = make_student(teacher, [2, 4]).eval()
    copy_teacher_layers(student, teacher, [2, 4])
    student.save_pretrained(tmp_path / "student")
    loaded, loading = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "student", output_loading_info=True
    )
    assert not any(loading.values())
    assert read_architecture(tmp_path / "student").n_layers == 2
    ids = torch.from_numpy(make_rows([9])[0][0].astype("int64"))[None]
    assert_same_model(loaded, student, input_ids=ids)
