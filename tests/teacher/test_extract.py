"""Captured signals against the model's own outputs, row by row and without padding."""

import re

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.errors import SignalError
from pipeline.store.spec import ArraySpec, Encoding, SignalName
from pipeline.teacher.extract import Extractor
from tests.conftest import MODEL_TYPES, make_model, make_rows, own_outputs

LENGTHS = (4, 11, 7, 2)
LOGITS, CLS = ArraySpec("logits"), ArraySpec("cls")
MAPS = (ArraySpec("attentions", 1), ArraySpec("attentions", 3))
FLOAT32: dict[SignalName, Encoding] = {
    "logits": "float32",
    "cls": "float32",
    "attentions": "float32",
}


def make_extractor(
    model: PreTrainedModel,
    arrays: tuple[ArraySpec, ...],
    encodings: dict[SignalName, Encoding] = FLOAT32,
) -> Extractor:
    return Extractor(
        model,
        arrays,
        encodings,
        "float32",
        torch.device("cpu"),
        has_token_types=MODEL_TYPES[model.config.model_type],
    )


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_signals_are_the_models_own_outputs(model_type: str) -> None:
    """Catches padding that leaks in, states or maps of another layer, and lost type ids."""
    rows = make_rows(LENGTHS)
    found = make_extractor(make_model(model_type), (LOGITS, CLS, *MAPS))(rows)
    eager = make_model(model_type)
    eager.set_attn_implementation("eager")
    has_token_types = MODEL_TYPES[model_type]
    expected = [own_outputs(eager, row, has_token_types=has_token_types) for row in rows]

    def check(ours: Tensor, theirs: Tensor) -> None:
        # Other kernels and batch shapes round to 24 bits in another order; states are of
        # size 1, and a few layers make 1e-6 of it.
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)

    for row, (n, own) in enumerate(zip(LENGTHS, expected, strict=True)):
        check(found[LOGITS][row], own.logits)
        check(found[CLS][row], own.cls)
        for array in MAPS:
            check(found[array][row, :, :n, :n], own.attentions[array.layer - 1])
    # None of it would hold for the next row, the next layer or the next head.
    logits, cls = found[LOGITS], found[CLS]
    assert (logits - logits.roll(1, 0)).abs().amax(1).min() > 1e-3
    assert (cls - cls.roll(1, 0)).abs().amax(-1)[:, 1:].min() > 1e-2
    assert (cls - cls.roll(1, 1)).abs().amax(-1).min() > 1e-2
    assert (expected[1].attentions - expected[1].attentions.roll(1, 0)).abs().max() > 0.1


@pytest.mark.parametrize("model_type", [name for name, has in MODEL_TYPES.items() if has])
def test_type_ids_reach_the_model(model_type: str) -> None:
    """Catches pairs whose second text the teacher takes for the first."""
    rows = make_rows(LENGTHS)
    without = [(ids, 0 * types) for ids, types in rows]
    extractor = make_extractor(make_model(model_type), (LOGITS,))
    difference = extractor(rows)[LOGITS] - extractor(without)[LOGITS]
    assert difference.abs().amax(1).min() > 1e-3


def test_only_the_asked_arrays_come_in_their_encoding() -> None:
    """Catches signals that are stored without being asked for, or as another type."""
    encodings: dict[SignalName, Encoding] = {**FLOAT32, "cls": "float16", "attentions": "float16"}
    model = make_model("bert")
    found = make_extractor(model, (CLS, MAPS[1]), encodings)(make_rows(LENGTHS))
    assert {array: values.dtype for array, values in found.items()} == {
        CLS: torch.float16,
        MAPS[1]: torch.float16,
    }
    assert found[CLS].shape == (4, 4, 16)
    assert found[MAPS[1]].shape == (4, 4, 11, 11)


def test_dropout_is_off() -> None:
    """Catches a teacher in training mode, whose signals differ from run to run."""
    extractor = make_extractor(make_model("bert").train(), (LOGITS, *MAPS))
    rows = make_rows(LENGTHS)
    first, second = extractor(rows), extractor(rows)
    assert all(torch.equal(first[array], second[array]) for array in first)


def test_a_model_serves_one_extractor_after_another() -> None:
    """Catches a tap that an earlier extractor left and that answers for the later one."""
    model, rows = make_model("bert"), make_rows(LENGTHS)
    plain = make_extractor(model, (LOGITS,))(rows)[LOGITS]
    with_maps = make_extractor(model, (LOGITS, MAPS[0]))(rows)
    other = make_extractor(model, (MAPS[1],))(rows)
    assert sorted(with_maps) == [MAPS[0], LOGITS] and sorted(other) == [MAPS[1]]
    assert torch.equal(with_maps[LOGITS], plain)
    assert torch.equal(make_extractor(model, (LOGITS,))(rows)[LOGITS], plain)
    assert model.config._attn_implementation == "sdpa"


def test_lower_precision_is_another_forward() -> None:
    """Catches a precision that is recorded in the store and not used."""
    rows, device = make_rows(LENGTHS), torch.device("cpu")
    exact = make_extractor(make_model("bert"), (LOGITS,))(rows)[LOGITS]
    extractor = Extractor(
        make_model("bert"), (LOGITS, *MAPS), FLOAT32, "bfloat16", device, has_token_types=True
    )
    found = extractor(rows)
    difference = (found[LOGITS] - exact).abs().max()
    # bfloat16 keeps 8 bits; logits of size 1 after three layers are off by 1e-3 to 0.1.
    assert 1e-4 < difference < 0.2
    assert all(values.dtype == torch.float32 for values in found.values())


def test_values_that_do_not_fit_are_refused() -> None:
    """Catches an infinity in the store, which turns a student's loss into NaN."""
    model = make_model("bert")
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([70_000.0, 0.0]))
    encodings: dict[SignalName, Encoding] = {**FLOAT32, "logits": "float16"}
    message = "logits: 4 values overflow float16 (largest 70,0"  # 00 and what the weights add
    with pytest.raises(SignalError, match=f"^{re.escape(message)}") as raised:
        make_extractor(model, (LOGITS,), encodings)(make_rows(LENGTHS))
    assert str(raised.value).endswith("; limit 65,504). Store this signal as float32.")
