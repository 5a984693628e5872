"""Students with narrower layers than their teacher's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.store.manifest import read_manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.build import build_student
from pipeline.student.model import model_of
from pipeline.student.settings import TransformerSettings
from pipeline.tasks import TASKS
from tests.conftest import MODEL_TYPES, make_model, make_rows
from tests.same_model import assert_same_model

COLD = {"n_layers": 2, "warm_start": "none"}
WIDE_ALONE = ("gpt2", "llama", "modernbert", "qwen2", "qwen3")


def build(tmp_path: Path, even_store: Path, model_type: str, **model: Any) -> PreTrainedModel:
    """Return a student of a teacher of width 16, 4 heads and an inner width of 32."""
    make_model(model_type, n_layers=4).save_pretrained(tmp_path / TEACHER_FOLDER)
    settings = TransformerSettings(**{**COLD, **model})
    manifest = read_manifest(even_store)
    return build_student(settings, manifest, tmp_path, TASKS["classification"], say=print)


@pytest.mark.parametrize("model_type", sorted(set(MODEL_TYPES) - set(WIDE_ALONE)))
@pytest.mark.parametrize(
    ("model", "heads", "inner"),
    [
        ({"hidden_size": 8}, 2, 16),
        ({"hidden_size": 8, "n_heads": 4}, 4, 16),
        ({"hidden_size": 12, "n_heads": 2, "intermediate_size": 20}, 2, 20),
    ],
)
@torch.no_grad()
def test_widths_are_those_asked_for(
    tmp_path: Path,
    even_store: Path,
    model_type: str,
    model: dict[str, int],
    heads: int,
    inner: int,
) -> None:
    """Catches a part that keeps the teacher's width, so that the student cannot be run at all."""
    student = build(tmp_path, even_store, model_type, **model).eval()
    assert student.config.hidden_size == model["hidden_size"]
    assert student.config.num_attention_heads == heads
    assert inner in {weight.shape[0] for weight in student.parameters()}
    student.set_attn_implementation("eager")
    ids = torch.from_numpy(make_rows([9])[0][0].astype("int64"))[None]
    outputs = student(ids, output_hidden_states=True, output_attentions=True)
    assert outputs.logits.shape == (1, 2) and outputs.logits.isfinite().all()
    assert {states.shape[-1] for states in outputs.hidden_states} == {model["hidden_size"]}
    assert [maps.shape[1] for maps in outputs.attentions] == [heads, heads]
    student.save_pretrained(tmp_path / "student")
    loaded, loading = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "student", output_loading_info=True, attn_implementation="eager"
    )
    assert not any(loading.values())
    assert_same_model(loaded, student, input_ids=ids)


@pytest.mark.parametrize("model_type", WIDE_ALONE)
def test_a_type_whose_widths_are_not_known_is_refused(
    tmp_path: Path, even_store: Path, model_type: str
) -> None:
    """Catches a config of which one width is changed and another one follows from it."""
    with pytest.raises(CheckpointError) as caught:
        build(tmp_path, even_store, model_type, hidden_size=8)
    assert str(caught.value) == (
        f"a {model_type} student cannot be made narrower than its teacher; that is known for "
        "albert, bert, deberta-v2, distilbert, electra, mpnet, roberta, xlm-roberta. Set "
        "students.NAME.model.checkpoint to a checkpoint of the wanted width."
    )


@pytest.mark.parametrize("width", [{"hidden_size": 8}, {"n_heads": 2}, {"intermediate_size": 8}])
@pytest.mark.parametrize("warm_start", ["first", "every", "heads", (1, 2)])
def test_a_warm_start_of_narrower_layers_is_refused(
    even_store: Path, width: dict[str, int], warm_start: Any
) -> None:
    """Catches tensors of the teacher cut to fit, or left out without a word."""
    model = model_of({"n_layers": 2, "warm_start": warm_start, **width}, "students.a")
    manifest = read_manifest(even_store)
    with pytest.raises(SettingsError) as caught:
        model.shape(manifest.teacher, manifest.identity.tokenizer)
    (fault,) = caught.value.faults
    assert fault.startswith("warm_start: ") and fault.endswith(
        " copies tensors of the teacher, which do not fit layers of other widths; set it to none"
    )


def test_a_width_that_heads_do_not_divide_is_refused(even_store: Path) -> None:
    """Catches a model that cannot be made, found when the training begins."""
    model = model_of({**COLD, "hidden_size": 10, "n_heads": 4}, "students.a")
    manifest = read_manifest(even_store)
    with pytest.raises(SettingsError) as caught:
        model.shape(manifest.teacher, manifest.identity.tokenizer)
    assert caught.value.faults == (
        "hidden_size: 10 is not a multiple of 4 heads; change it or n_heads",
    )
