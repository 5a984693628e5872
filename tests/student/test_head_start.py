"""The warm start `heads`: which tensors of a student are the teacher's, and what is said of it."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.core.errors import CheckpointError
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.build import build_student, copied_table
from pipeline.student.settings import TransformerSettings
from pipeline.tasks import TASKS
from tests.conftest import MODEL_TYPES, make_model
from tests.student.test_warm_start import in_layer, layer_of

N_TEACHER = 4

BERT_OUTPUT = ("output.dense.", "output.LayerNorm.")
OUTPUT_BLOCKS = {
    "distilbert": ("ffn.lin2.", "output_layer_norm."),
    "modernbert": ("mlp.Wo.",),
    "gpt2": ("mlp.c_proj.",),
    "llama": ("mlp.down_proj.",),
    "qwen2": ("mlp.down_proj.",),
    "qwen3": ("mlp.down_proj.",),
}
"""What comes last in a layer; all other types are called as BERT is."""
HEADS = {
    "bert": {"pooler.dense", "classifier"},
    "deberta-v2": {"pooler.dense", "classifier"},
    "distilbert": {"pre_classifier", "classifier"},
    "modernbert": {"head.dense", "head.norm", "classifier"},
    "gpt2": {"score"},
    "llama": {"score"},
    "qwen2": {"score"},
    "qwen3": {"score"},
}
"""Pooler and classifier; those not named have `classifier.dense` and `classifier.out_proj`."""
TYPES = sorted(set(MODEL_TYPES) - {"albert"})


def module_of(name: str) -> str:
    """Return the head's module that a tensor belongs to, without the encoder's name."""
    return name.rpartition(".")[0].removeprefix("bert.").removeprefix("deberta.")


def start(
    tmp_path: Path, manifest: Manifest, model_type: str, n_layers: int, said: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of a student that starts from heads, and its teacher's."""
    folder = tmp_path / TEACHER_FOLDER
    make_model(model_type, n_layers=N_TEACHER).save_pretrained(folder)
    settings = TransformerSettings(n_layers=n_layers, warm_start="heads")
    torch.manual_seed(9)
    student = build_student(settings, manifest, tmp_path, TASKS["classification"], say=said.append)
    return student.state_dict(), load_file(folder / "model.safetensors")


@pytest.fixture
def manifest(even_store: Path) -> Manifest:
    """That of a teacher of four layers."""
    return read_manifest(even_store)


@pytest.mark.parametrize("model_type", TYPES)
def test_heads_are_the_teachers_and_nothing_else(
    tmp_path: Path, manifest: Manifest, model_type: str
) -> None:
    """Catches an output block of another layer, or of attention, and a head left at random."""
    said: list[str] = []
    student, teacher = start(tmp_path, manifest, model_type, 2, said)
    copied = set()
    for name, values in student.items():
        source = in_layer(name, N_TEACHER) if layer_of(name) == 2 else name
        if torch.equal(values, teacher[source]):
            copied.add(name)
    in_layers = {name for name in copied if layer_of(name) is not None}
    last = OUTPUT_BLOCKS.get(model_type, BERT_OUTPUT)
    of_last = {name for name in student if layer_of(name) == 2}
    ends = {name: re.split(r"\.(?:layer|layers|h)\.1\.", name)[1] for name in of_last}
    assert in_layers == {name for name in of_last if ends[name].startswith(last)} != set()
    heads = HEADS.get(model_type, {"classifier.dense", "classifier.out_proj"})
    assert {module_of(name) for name in copied - in_layers} == heads
    # What is not copied is not another layer's either.
    for name in set(student) - copied:
        if student[name].ndim == 2:
            sources = {in_layer(name, layer) for layer in range(1, N_TEACHER + 1)}
            assert not any(torch.equal(student[name], teacher[source]) for source in sources)
    n_random = len(student) - len(copied)
    assert said[0] == (
        f"warm start: {len(copied)} of {len(student)} tensors are the teacher's, {n_random} start "
        "at random"
    )
    check_table(said, len(copied))


def check_table(said: list[str], n_copied: int) -> dict[str, str]:
    """Check that a table's numbers add up; return the teacher's blocks by the student's."""
    assert said[1].split() == ["student", "tensors", "teacher"]
    rows = [line.split() for line in said[2:]]
    assert rows and all(len(row) == 3 for row in rows)
    assert sum(int(number) for _, number, _ in rows) == n_copied
    blocks = {ours: theirs for ours, _, theirs in rows}
    assert len(blocks) == len(rows)
    return blocks


def test_a_deeper_student_may_have_the_teachers_heads(tmp_path: Path, manifest: Manifest) -> None:
    """Catches an output block that goes where the teacher has its own."""
    student, teacher = start(tmp_path, manifest, "bert", 6, [])
    weight = "bert.encoder.layer.{}.output.dense.weight"
    assert torch.equal(student[weight.format(5)], teacher[weight.format(3)])
    assert not torch.equal(student[weight.format(3)], teacher[weight.format(3)])


def test_layers_that_share_their_weights_have_no_last_one(
    tmp_path: Path, manifest: Manifest
) -> None:
    """Catches an ALBERT whose every layer is the teacher's, under the name of a head."""
    with pytest.raises(CheckpointError) as caught:
        start(tmp_path, manifest, "albert", 2, [])
    assert str(caught.value) == (
        f"{tmp_path / TEACHER_FOLDER}: no layer of a albert has an output block that is known. Set "
        "students.NAME.model.warm_start to first or none."
    )


@pytest.mark.parametrize("warm_start", ["first", "every", (3, 1)])
def test_the_table_names_each_layers_source(
    even_store: Path, manifest: Manifest, warm_start: str
) -> None:
    """Catches a table that says another layer than was copied, or leaves tensors out."""
    said: list[str] = []
    settings = TransformerSettings.model_validate({"n_layers": 2, "warm_start": warm_start})
    student = build_student(
        settings, manifest, even_store, TASKS["classification"], say=said.append
    )
    n_tensors = len(student.state_dict())
    assert said[0] == f"warm start: {n_tensors} of {n_tensors} tensors are the teacher's"
    blocks = check_table(said, n_tensors)
    for ours, theirs in enumerate(settings.teacher_layers(N_TEACHER)):
        assert blocks[f"bert.encoder.layer.{ours}"] == f"bert.encoder.layer.{theirs - 1}"
    assert blocks["bert.embeddings"] == "bert.embeddings"
    assert blocks["bert.pooler"] == "bert.pooler" and blocks["classifier"] == "classifier"


def test_a_cold_start_is_said(even_store: Path, manifest: Manifest) -> None:
    """Catches a student of whose start nobody hears."""
    said: list[str] = []
    settings = TransformerSettings(n_layers=2, warm_start="none")
    student = build_student(
        settings, manifest, even_store, TASKS["classification"], say=said.append
    )
    n_tensors = len(student.state_dict())
    assert said == [f"warm start: none; all {n_tensors} tensors start at random"]


def test_a_table_of_names_without_numbers() -> None:
    """Catches blocks counted under another's name."""
    copied = {"bert.encoder.layer.10.a.weight": "bert.encoder.layer.1.a.weight", "score": "score"}
    assert copied_table(copied, 3) == [
        "warm start: 2 of 3 tensors are the teacher's, 1 start at random",
        "  student                tensors  teacher",
        "  bert.encoder.layer.10        1  bert.encoder.layer.1",
        "                               1  ",
    ]
