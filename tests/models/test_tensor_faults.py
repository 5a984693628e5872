"""Whether a checkpoint's tensors are those of the model that its config describes."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, BertConfig, BertForPreTraining

from pipeline.core.errors import CheckpointError
from pipeline.core.weights import read_shapes
from pipeline.models.head import load_on_meta, load_trained, load_with_head
from pipeline.models.tensor_faults import tensor_fault
from pipeline.tasks import TASKS
from pipeline.tasks.task import Task
from tests import two_stacks
from tests.conftest import LABELS, MODEL_TYPES, make_model
from tests.old_names import change_config, change_tensors, copy_of, rename, to_old_name
from tests.two_stacks import make_two_stacks

CLASSIFICATION, WRITING = TASKS["classification"], TASKS["sequence_to_sequence"]
TYPES = (*MODEL_TYPES, *two_stacks.TYPES)
LAYER = re.compile(r"\.(?:block|layer|layers|h|albert_layers)\.([0-9]+)\.")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each type; not to be changed."""
    folders = {}
    for kind in TYPES:
        folders[kind] = tmp_path_factory.mktemp(kind)
        model = make_model(kind) if kind in MODEL_TYPES else make_two_stacks(kind)
        model.save_pretrained(folders[kind])
    return folders


def task_of(kind: str) -> Task:
    return CLASSIFICATION if kind in MODEL_TYPES else WRITING


def fault_of(folder: Path, task: Task = CLASSIFICATION) -> str | None:
    """Return the fault by headers alone, which loading must refuse in the same words."""
    fault = tensor_fault(*load_on_meta(folder, task, read_shapes(folder)))
    if fault is None:
        load_with_head(folder, task, LABELS)
    else:
        with pytest.raises(CheckpointError, match=f"^{re.escape(f'{folder} {fault}')}$"):
            load_with_head(folder, task, LABELS)
    return fault


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_checkpoint_of_each_type_passes(saved: dict[str, Path], kind: str) -> None:
    """Negative control: catches good checkpoints that are refused, and noise before a check."""
    assert fault_of(saved[kind], task_of(kind)) is None


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_an_encoder_alone_passes(tmp_path: Path, saved: dict[str, Path], kind: str) -> None:
    """Catches a base model that is refused for the head and the prefix it does not have."""
    AutoModel.from_pretrained(saved[kind]).save_pretrained(tmp_path)
    assert fault_of(tmp_path) is None
    assert not any("classifier" in name or "score" in name for name in read_shapes(tmp_path))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra", "albert", "mpnet"])
def test_a_language_model_without_a_pooler_passes(
    tmp_path: Path, saved: dict[str, Path], kind: str
) -> None:
    """Catches a pretrained model that is refused for the parts that fine-tuning is to make."""
    AutoModelForMaskedLM.from_pretrained(saved[kind]).save_pretrained(tmp_path)
    assert not any("pooler" in name for name in read_shapes(tmp_path))
    assert fault_of(tmp_path) is None


def test_heads_of_pretraining_and_old_buffers_pass(tmp_path: Path) -> None:
    """Catches a checkpoint as the Hub has them, refused for what nobody reads."""
    config = BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    BertForPreTraining(config).save_pretrained(tmp_path)
    ids = torch.arange(16)[None]
    change_tensors(tmp_path, lambda tensors: tensors.update({"bert.embeddings.position_ids": ids}))
    rename(tmp_path, to_old_name)
    assert sum(name.endswith("LayerNorm.gamma") for name in read_shapes(tmp_path)) == 6
    assert fault_of(tmp_path) is None


def test_the_mask_of_an_old_gpt2_passes(tmp_path: Path, saved: dict[str, Path]) -> None:
    """Catches a constant within a layer that is taken for a weight."""
    folder = copy_of(saved["gpt2"], tmp_path / "old")
    mask = {"transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}
    change_tensors(folder, lambda tensors: tensors.update(mask))
    assert fault_of(folder) is None


@pytest.mark.parametrize("kind", TYPES)
def test_a_layer_that_is_missing_is_named(
    tmp_path: Path, saved: dict[str, Path], kind: str
) -> None:
    """Catches a partial file, whose layers would begin at random without a word."""
    folder = copy_of(saved[kind], tmp_path / "part")
    is_shared = kind == "albert"  # its one layer is all of them
    last = [
        name
        for name in read_shapes(folder)
        if (layer := LAYER.search(name)) and (is_shared or layer[1] != "0")
    ]
    assert len(last) > 5
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in last])
    fault = fault_of(folder, task_of(kind))
    assert fault is not None
    assert fault.startswith(f"lacks {len(last)} of ")
    assert min(last) in fault and "Copy the whole checkpoint" in fault


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("prefix", ["module", "wrapped.model"])
def test_another_prefix_is_named(
    tmp_path: Path, saved: dict[str, Path], kind: str, prefix: str
) -> None:
    """Catches a model saved within its wrapper, none of whose tensors is found."""
    folder = rename(copy_of(saved[kind], tmp_path / "other"), lambda name: f"{prefix}.{name}")
    fault = fault_of(folder, task_of(kind))
    assert fault is not None and fault.startswith("lacks ")
    assert f"It has them behind '{prefix}" in fault and "without that prefix" in fault


def test_a_roberta_in_the_name_of_a_bert_is_named(tmp_path: Path, saved: dict[str, Path]) -> None:
    """Catches a config of another type beside the weights."""
    folder = change_config(copy_of(saved["roberta"], tmp_path / "other"), model_type="bert")
    fault = fault_of(folder)
    assert fault is not None and "It has them behind 'roberta.', as roberta.embeddings" in fault
    assert fault.endswith("or correct model_type in config.json.")


@pytest.mark.parametrize("n_layers", [2, 4])
@pytest.mark.parametrize("kind", [kind for kind in MODEL_TYPES if kind != "albert"])
def test_another_number_of_layers_is_named(
    tmp_path: Path, saved: dict[str, Path], kind: str, n_layers: int
) -> None:
    """Catches layers that are left out, or made at random, because config.json says so."""
    key = {"distilbert": "n_layers", "gpt2": "n_layer"}.get(kind, "num_hidden_layers")
    # layer_types, where a config lists them, would have another length.
    folder = copy_of(saved[kind], tmp_path / "other")
    change_config(folder, **{key: n_layers, "layer_types": None})
    fault = fault_of(folder)
    assert fault is not None
    if n_layers == 2:
        assert re.search(r"has \d+ tensors in its layers that are not of the ", fault)
        assert ".2." in fault
    else:
        assert re.match(r"lacks \d+ of \d+ tensors ", fault) and ".3." in fault


@pytest.mark.parametrize("kind", ["bert", "distilbert", "deberta-v2", "gpt2", "bart", "t5"])
def test_tensors_of_other_shapes_are_named(
    tmp_path: Path, saved: dict[str, Path], kind: str
) -> None:
    """Catches weights of another size that are replaced by random ones without a word."""
    folder = copy_of(saved[kind], tmp_path / "other")
    names = [name for name, shape in read_shapes(folder).items() if LAYER.search(name)]
    name = min(names)

    def widen(tensors: dict[str, Tensor]) -> None:
        tensors[name] = torch.cat([tensors[name], tensors[name]])

    rows, *_ = read_shapes(folder)[name]
    change_tensors(folder, widen)
    fault = fault_of(folder, task_of(kind))
    assert fault is not None and fault.startswith("has tensors of other shapes than the ")
    assert name in fault and f"({2 * rows}," in fault and f", not ({rows}," in fault


def test_a_head_for_other_labels_passes(tmp_path: Path) -> None:
    """Negative control: who fine-tunes, or starts a student, gets a new head."""
    make_model("bert", changes={"num_labels": 5}).save_pretrained(tmp_path)
    assert fault_of(tmp_path) is None


def test_a_model_that_is_in_use_is_whole(tmp_path: Path, saved: dict[str, Path]) -> None:
    """Catches a student with random weights that is evaluated as the trained one."""
    folder = copy_of(saved["bert"], tmp_path / "part")
    change_tensors(folder, lambda tensors: tensors.pop("classifier.weight"))
    with pytest.raises(CheckpointError, match=r"lacks classifier\.weight"):
        load_trained(folder, CLASSIFICATION)
    load_trained(saved["bert"], CLASSIFICATION)


def test_no_random_number_is_drawn(saved: dict[str, Path]) -> None:
    """Catches a head that depends on whether the checkpoint was checked before."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model, _ = load_on_meta(saved["bert"], CLASSIFICATION, {"x": (2, 2)})
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", TYPES)
def test_a_model_is_saved_under_the_names_of_its_class(
    tmp_path: Path, saved: dict[str, Path], kind: str
) -> None:
    """Catches old names that come back when a model is saved, where no student finds them."""
    folder = rename(copy_of(saved[kind], tmp_path / "old"), to_old_name)
    model, _ = load_with_head(folder, task_of(kind), LABELS)
    model.save_pretrained(tmp_path / "again")
    assert read_shapes(tmp_path / "again").keys() <= model.state_dict().keys()
    assert read_shapes(tmp_path / "again").keys() == read_shapes(saved[kind]).keys()
    load_trained(folder, task_of(kind)).save_pretrained(tmp_path / "trained")
    assert read_shapes(tmp_path / "trained").keys() == read_shapes(saved[kind]).keys()
