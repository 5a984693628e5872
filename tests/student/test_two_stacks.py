"""Students with an encoder and a decoder: which tensors each of their layers starts from."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.models.architecture import Architecture, read_architecture
from pipeline.models.head import new_model
from pipeline.signals.attentions import CROSS_ATTENTIONS
from pipeline.signals.cls import CLS
from pipeline.student.build import copied_table
from pipeline.student.config import student_config
from pipeline.student.settings import TransformerSettings
from pipeline.student.warm_start import copy_teacher_layers, tied_names
from pipeline.tasks import TASKS
from tests.conftest import make_model
from tests.same_model import assert_same_model
from tests.two_stacks import EOS, TYPES, make_two_stacks

TASK = TASKS["sequence_to_sequence"]
_LAYER = re.compile(r"\.(?:block|layers|layer)\.([0-9]+)\.")


def make_student(teacher: Path, layers: list[int], decoder_layers: list[int]) -> PreTrainedModel:
    torch.manual_seed(7)
    config = student_config(teacher, len(layers), layers, n_decoder_layers=len(decoder_layers))
    return new_model(config, TASK).eval()


def in_layer(name: str, layer: int) -> str:
    """Return the tensor's name in a teacher layer, from 1; of block and sub-layer, the block."""
    found = _LAYER.search(name)
    assert found is not None
    start, end = found.span(1)
    return f"{name[:start]}{layer - 1}{name[end:]}"


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize(
    ("layers", "decoder_layers"), [([1, 2], [1]), ([2, 4], [1, 3]), ([4, 1, 3], [2, 3, 1])]
)
def test_each_tensor_is_the_named_layers(
    tmp_path: Path, model_type: str, layers: list[int], decoder_layers: list[int]
) -> None:
    """Catches a decoder filled by the encoder's list, layers off by one, or tied ones left out."""
    model = make_two_stacks(model_type)
    model.save_pretrained(tmp_path)
    teacher = model.state_dict()
    student = make_student(tmp_path, layers, decoder_layers)
    fresh = {name: values.clone() for name, values in student.state_dict().items()}
    copied = copy_teacher_layers(student, tmp_path, layers, decoder_layers)
    state = student.state_dict()
    n_in_layers = 0
    for name, values in state.items():
        found = _LAYER.search(name)
        if found is None or "relative_attention_bias" in name:
            assert torch.equal(values, teacher[name]), name
        else:
            n_in_layers += 1
            is_decoder = "decoder" in name[: found.start()]
            chosen = decoder_layers if is_decoder else layers
            for number in range(1, 4 if is_decoder else 5):
                is_equal = torch.equal(values, teacher[in_layer(name, number)])
                assert is_equal == (number == chosen[int(found[1])]), name
        if "embed_positions" not in name or model_type != "marian":  # computed, and so alike
            is_zero = not values.any()  # BART's bias of the logits
            assert is_zero or not torch.equal(values, fresh[name]), name
    assert n_in_layers > 7 * (len(layers) + len(decoder_layers))
    assert set(copied) <= set(tied_names(student).values())
    (first, *_), n_tensors = copied_table(copied, len(copied)), len(copied)
    assert first == f"warm start: {n_tensors} of {n_tensors} tensors are the teacher's"


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_a_student_of_all_layers_is_the_teacher(tmp_path: Path, model_type: str) -> None:
    """Catches a tensor that is left at random, positions too, and untied output layers."""
    model = make_two_stacks(model_type)
    model.save_pretrained(tmp_path / "teacher")
    student = make_student(tmp_path / "teacher", [1, 2, 3, 4], [1, 2, 3])
    copy_teacher_layers(student, tmp_path / "teacher", [1, 2, 3, 4], [1, 2, 3])
    student.save_pretrained(tmp_path / "student")
    loaded, loading = AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "student", output_loading_info=True
    )
    assert not any(loading.values())
    ids = torch.tensor([[5, 7, 9, 11, EOS]])
    expected = model(input_ids=ids, decoder_input_ids=ids).logits
    assert torch.equal(student(input_ids=ids, decoder_input_ids=ids).logits, expected)
    assert_same_model(loaded, student, input_ids=ids, decoder_input_ids=ids)


@torch.no_grad()
def test_an_output_layer_of_its_own_stays_its_own(tmp_path: Path) -> None:
    """Catches a T5 1.1 whose output layer overwrites the embeddings, or is overwritten."""
    model = make_two_stacks("t5")
    head: Any = model.get_output_embeddings()
    head.weight = nn.Parameter(torch.randn_like(head.weight))
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {"shared.weight", "lm_head.weight"} <= set(stored)
    student = make_student(tmp_path, [1, 2], [1, 2])
    copy_teacher_layers(student, tmp_path, [1, 2], [1, 2])
    state: dict[str, Tensor] = student.state_dict()
    for name, source in {
        "shared.weight": "shared.weight",
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
        "lm_head.weight": "lm_head.weight",
    }.items():
        assert torch.equal(state[name], stored[source]), name
    assert student.get_input_embeddings().weight.data_ptr() == state["shared.weight"].data_ptr()


TEACHER = Architecture(
    model_type="t5",
    n_layers=4,
    n_heads=4,
    hidden_size=16,
    n_labels=40,
    head_reads=None,
    n_decoder_layers=3,
)


@pytest.mark.parametrize(
    ("given", "encoder", "decoder"),
    [
        ({"n_layers": 2}, [1, 2], [1, 2]),
        ({"n_layers": 4, "n_decoder_layers": 1}, [1, 2, 3, 4], [1]),
        ({"n_layers": 2, "n_decoder_layers": 1, "warm_start": "every"}, [2, 4], [3]),
        ({"n_layers": 2, "warm_start": (1, 3)}, [1, 3], [1, 3]),
        (
            {"n_layers": 2, "n_decoder_layers": 1, "decoder_warm_start": (2,)},
            [1, 2],
            [2],
        ),
        ({"n_layers": 2, "warm_start": "none"}, [], []),
    ],
)
def test_which_layers_a_name_means(
    given: dict[str, Any], encoder: list[int], decoder: list[int]
) -> None:
    """Catches a decoder of the encoder's depth where it has its own."""
    settings = TransformerSettings(**given)
    assert settings.teacher_layers(4) == encoder
    assert settings.teacher_decoder_layers(3) == decoder
    shape = settings.shape(TEACHER, "")
    assert (shape.n_layers, shape.n_decoder_layers) == (
        given["n_layers"],
        given.get("n_decoder_layers", given["n_layers"]),
    )
    assert CLS not in shape.gives and CROSS_ATTENTIONS in shape.gives


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"n_layers": 4},
            "decoder_warm_start: 'first' needs 4 teacher layers, the teacher has 3; use fewer "
            "layers, a list, or none",
        ),
        (
            {"n_layers": 2, "n_decoder_layers": 1, "warm_start": (1, 2)},
            "decoder_warm_start: lists teacher layers 1, 2 for a student of 1 layers; give 1 "
            "numbers from 1 to 3",
        ),
        (
            {"n_layers": 2, "hidden_size": 8, "warm_start": "none"},
            "hidden_size, n_heads, intermediate_size: a student of a t5 teacher has its widths; "
            "take them out and choose n_layers and n_decoder_layers",
        ),
        (
            {"n_layers": 2, "warm_start": "heads"},
            "warm_start: 'heads' is of an encoder alone, and the teacher has a decoder; set it to "
            "first, every, a list of layers, or none",
        ),
        (
            {"n_layers": 2, "warm_start": "none", "decoder_warm_start": "first"},
            "decoder_warm_start: names layers to start from, and warm_start is none; change one "
            "of both",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], message: str) -> None:
    """Catches a student that starts otherwise than its settings say."""
    with pytest.raises(SettingsError) as raised:
        TransformerSettings(**given).shape(TEACHER, "")
    assert raised.value.faults == (message,)


def test_a_teacher_without_a_decoder_has_no_decoder_layers() -> None:
    """Catches a number of decoder layers that nothing reads."""
    teacher = TEACHER.model_copy(update={"n_decoder_layers": None, "model_type": "bert"})
    with pytest.raises(SettingsError) as raised:
        TransformerSettings(n_layers=2, n_decoder_layers=1).shape(teacher, "")
    assert raised.value.faults == (
        "n_decoder_layers: a bert teacher has no decoder beside its encoder; take it out",
    )


def test_a_checkpoint_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    """Catches an encoder alone that is to write texts, found only when it is called."""
    make_model("bert").save_pretrained(tmp_path)
    with pytest.raises(SettingsError) as raised:
        TransformerSettings(checkpoint=str(tmp_path)).shape(TEACHER, "")
    assert raised.value.faults == (
        "checkpoint: a model of type 'bert' has no such decoder, unlike the teacher, a t5. Name a "
        "checkpoint that can do the teacher's task",
    )


@pytest.mark.parametrize("model_type", TYPES)
def test_sizes_of_every_type(tmp_path: Path, model_type: str) -> None:
    """Catches a decoder's depth read where the encoder's stands."""
    make_two_stacks(model_type).save_pretrained(tmp_path)
    expected = TEACHER.model_copy(update={"model_type": model_type})
    assert read_architecture(tmp_path) == expected


def test_stacks_of_two_widths_are_refused(tmp_path: Path) -> None:
    """Catches attention maps of the decoder stored as if they had the encoder's heads."""
    model = make_two_stacks("bart")
    model.config.decoder_attention_heads = 2
    model.config.save_pretrained(tmp_path)
    message = (
        f"{tmp_path}: its encoder has 4 heads and states of 16 numbers, its decoder 2 and 16. Use "
        "a checkpoint in which both are equal."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read_architecture(tmp_path)


def test_a_manifest_of_an_encoder_has_no_decoder_in_it() -> None:
    """Catches stores of earlier versions whose manifest would be written otherwise."""
    without = TEACHER.model_copy(update={"n_decoder_layers": None})
    assert "n_decoder_layers" not in without.model_dump(mode="json")
    assert TEACHER.model_dump(mode="json")["n_decoder_layers"] == 3
    dumped = TEACHER.model_dump_json()
    assert Architecture.model_validate_json(dumped) == TEACHER
