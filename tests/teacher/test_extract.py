"""Captured signals against the model's own outputs, row by row and without padding."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.errors import CheckpointError
from pipeline.models.inputs import Inputs
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Arrays
from pipeline.teacher.begun_store import Precision
from pipeline.teacher.extract import Extractor
from pipeline.text.token_row import TokenRow
from tests.conftest import DECODERS, MODEL_TYPES, PAD_ID, make_model, make_rows, own_outputs

LENGTHS = (4, 11, 7, 2)
MAPS = (Array(ATTENTIONS, 1), Array(ATTENTIONS, 3))
MEAN_MAPS = Array(ATTENTIONS, 2, "mean")
STATES = tuple(Array(HIDDEN_STATES, layer) for layer in (0, 2, 3))
CPU = torch.device("cpu")


def in_float32(*arrays: Array) -> Arrays:
    return dict.fromkeys(arrays, "float32")


def make_extractor(
    model: PreTrainedModel, arrays: Arrays, precision: Precision = "float32"
) -> Extractor:
    pad_id, has_token_types = model.config.pad_token_id or 0, MODEL_TYPES[model.config.model_type]
    return Extractor(model, arrays, precision, CPU, Inputs(pad_id, has_token_types))


def check(ours: Tensor, theirs: Tensor) -> None:
    """Check within what kernels and batch shapes make of rounding to 24 bits in another order.

    States are of size 1 to 5, and a few layers make 4e-6 of it; a wrong row or layer is off
    by 0.01 and more.
    """
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        *((name, {}) for name in MODEL_TYPES),
        ("modernbert", {"classifier_pooling": "mean"}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0}),
        ("albert", {"num_hidden_groups": 3}),
    ],
)
def test_signals_are_the_models_own_outputs(model_type: str, changes: Mapping[str, object]) -> None:
    """Catches padding that leaks in, states or maps of another layer, and lost type ids."""
    rows = make_rows(LENGTHS)
    model, eager = (make_model(model_type, changes=changes) for _ in range(2))
    found = make_extractor(model, in_float32(Array(LOGITS), CLS_STATES, *STATES, *MAPS, MEAN_MAPS))(
        rows
    ).wait()
    eager.set_attn_implementation("eager")
    has_token_types = MODEL_TYPES[model_type]
    expected = [own_outputs(eager, row, has_token_types=has_token_types) for row in rows]
    for row, (n, own) in enumerate(zip(LENGTHS, expected, strict=True)):
        check(found[Array(LOGITS)][row], own.logits)
        check(found[CLS_STATES][row], own.cls)
        for array in STATES:
            check(found[array][row, :n], own.hidden_states[array.layer])
        for array in MAPS:
            check(found[array][row, :, :n, :n], own.attentions[array.layer - 1])
        check(found[MEAN_MAPS][row, :, :n, :n], own.attentions[1].mean(0, keepdim=True))
    # None of it would hold for the next row, the next layer or the next head.
    logits, cls = found[Array(LOGITS)], found[CLS_STATES]
    assert (logits - logits.roll(1, 0)).abs().amax(1).min() > 1e-3
    assert (cls - cls.roll(1, 0)).abs().amax(-1)[:, 1:].min() > 1e-2
    assert (cls - cls.roll(1, 1)).abs().amax(-1).min() > 1e-2
    assert (found[STATES[1]] - found[STATES[2]]).abs().max() > 0.1
    assert (expected[1].attentions - expected[1].attentions.roll(1, 0)).abs().max() > 0.1
    assert (expected[1].attentions - expected[1].attentions.roll(1, 1)).abs().max() > 0.1


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_no_values_are_lost_to_padding_of_long_batches(model_type: str) -> None:
    """Catches NaN where a local window holds padding alone, which costs a second forward."""
    extracted = make_extractor(
        make_model(model_type), in_float32(Array(LOGITS), CLS_STATES, *STATES, *MAPS, MEAN_MAPS)
    )(make_rows((60, 1)))
    assert extracted.misfits() == []
    assert all(torch.isfinite(values).all() for values in extracted.wait().values())


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_maps_do_not_change_the_logits(model_type: str) -> None:
    """Catches a store whose logits depend on which other signals were asked for."""
    rows = make_rows(LENGTHS)
    plain = make_extractor(make_model(model_type), in_float32(Array(LOGITS)))(rows).wait()
    arrays = in_float32(Array(LOGITS), CLS_STATES, *STATES, *MAPS, MEAN_MAPS)
    with_all = make_extractor(make_model(model_type), arrays)(rows).wait()
    assert torch.equal(plain[Array(LOGITS)], with_all[Array(LOGITS)])


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_row_that_ends_in_the_padding_token(model_type: str) -> None:
    """Catches the [CLS] of a position that the head does not read, by length or by column."""
    rows = make_rows(LENGTHS)
    rows[1][0][-2:] = PAD_ID
    rows[2][0][3] = PAD_ID
    found = make_extractor(make_model(model_type), in_float32(Array(LOGITS), CLS_STATES))(
        rows
    ).wait()
    eager = make_model(model_type)
    eager.set_attn_implementation("eager")
    for row, last in enumerate((3, 8, 6, 1)):
        own = own_outputs(eager, rows[row], has_token_types=False)
        check(found[Array(LOGITS)][row], own.logits)
        check(found[CLS_STATES][row], own.hidden_states[:, last])
        # The head is linear: its logits are those of the last [CLS].
        with torch.no_grad():
            check(eager.get_submodule("score")(found[CLS_STATES][row, -1]), own.logits)


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoder_without_padding_token_is_refused(model_type: str) -> None:
    """Catches the last column taken for the last token."""
    model = make_model(model_type)
    model.config.pad_token_id = None
    message = (
        f"^a model of type '{model_type}' needs pad_token_id in its config.json, because its head "
        "reads the last token that is not padding. Set it to the tokenizer's.$"
    )
    with pytest.raises(CheckpointError, match=message):
        make_extractor(model, in_float32(Array(LOGITS)))


@pytest.mark.parametrize("model_type", DECODERS)
def test_a_decoder_keeps_no_keys_and_values(model_type: str) -> None:
    """Catches memory for tokens that will never come."""
    model = make_model(model_type)
    given: list[object] = []
    model.register_forward_hook(lambda module, args, outputs: given.append(outputs))
    make_extractor(model, in_float32(Array(LOGITS)))(make_rows(LENGTHS))
    assert len(given) == 1 and given[0].past_key_values is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("model_type", ["bert", "electra", "albert"])
def test_type_ids_reach_the_model(model_type: str) -> None:
    """Catches pairs whose second text the teacher takes for the first."""
    rows = make_rows(LENGTHS)
    without = [TokenRow(row.ids, 0 * row.types) for row in rows]
    extractor = make_extractor(make_model(model_type), in_float32(Array(LOGITS)))
    difference = extractor(rows).wait()[Array(LOGITS)] - extractor(without).wait()[Array(LOGITS)]
    assert difference.abs().amax(1).min() > 1e-3


def test_only_the_asked_arrays_come_in_their_encoding() -> None:
    """Catches signals that are stored without being asked for, or as another type."""
    arrays: Arrays = {CLS_STATES: "bfloat16", MAPS[1]: "float16", MEAN_MAPS: "uint8_cbrt"}
    found = make_extractor(make_model("bert"), arrays)(make_rows(LENGTHS)).wait()
    assert {array: values.dtype for array, values in found.items()} == {
        CLS_STATES: torch.bfloat16,
        MAPS[1]: torch.float16,
        MEAN_MAPS: torch.uint8,
    }
    assert found[CLS_STATES].shape == (4, 4, 16)
    assert found[MAPS[1]].shape == (4, 4, 11, 11)
    assert found[MEAN_MAPS].shape == (4, 1, 11, 11)


def test_what_needs_no_encoding_is_not_copied() -> None:
    """Catches a second copy of every signal in memory, where the model's own will do."""
    model, given = make_model("bert"), []
    extractor = make_extractor(model, in_float32(*STATES))
    model.register_forward_hook(lambda module, args, outputs: given.append(outputs.hidden_states))
    found = extractor(make_rows(LENGTHS)).wait()
    for array in STATES:
        assert found[array].data_ptr() == given[0][array.layer].data_ptr()


def test_dropout_is_off() -> None:
    """Catches a teacher in training mode, whose signals differ from run to run."""
    extractor = make_extractor(make_model("bert").train(), in_float32(Array(LOGITS), *MAPS))
    rows = make_rows(LENGTHS)
    first, second = extractor(rows).wait(), extractor(rows).wait()
    assert all(torch.equal(first[array], second[array]) for array in first)


@pytest.mark.parametrize("model_type", ["bert", "deberta-v2", "gpt2"])
def test_a_model_serves_one_extractor_after_another(model_type: str) -> None:
    """Catches a tap that an earlier extractor left and that answers for the later one."""
    model, rows = make_model(model_type), make_rows(LENGTHS)
    implementation = model.config._attn_implementation
    plain = make_extractor(model, in_float32(Array(LOGITS)))(rows).wait()[Array(LOGITS)]
    with_maps = make_extractor(model, in_float32(Array(LOGITS), MAPS[0]))(rows).wait()
    other = make_extractor(model, in_float32(MAPS[1]))(rows).wait()
    assert sorted(with_maps) == [MAPS[0], Array(LOGITS)] and sorted(other) == [MAPS[1]]
    assert torch.equal(with_maps[Array(LOGITS)], plain)
    assert torch.equal(
        make_extractor(model, in_float32(Array(LOGITS)))(rows).wait()[Array(LOGITS)], plain
    )
    assert model.config._attn_implementation == implementation


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_lower_precision_is_another_forward(model_type: str) -> None:
    """Catches a precision that is recorded in the store and not used."""
    rows, arrays = make_rows(LENGTHS), in_float32(Array(LOGITS), CLS_STATES, *MAPS)
    exact = make_extractor(make_model(model_type), arrays)(rows).wait()
    extracted = make_extractor(make_model(model_type), arrays, "bfloat16")(rows)
    found = extracted.wait()
    difference = (found[Array(LOGITS)] - exact[Array(LOGITS)]).abs().max()
    # bfloat16 keeps 8 bits; logits of size 1 after three layers are off by 1e-3 to 0.1.
    assert 1e-4 < difference < 0.2
    assert all(values.dtype == torch.float32 for values in found.values())
    assert extracted.misfits() == []


@pytest.mark.parametrize("bad", [70_000.0, float("nan"), float("-inf")])
def test_values_that_do_not_fit_are_told(bad: float) -> None:
    """Catches an infinity in the store, which turns a student's loss into NaN."""
    model = make_model("bert")
    extractor = make_extractor(model, {Array(LOGITS): "float16", CLS_STATES: "float32"})
    assert extractor(make_rows(LENGTHS)).misfits() == []
    with torch.no_grad():
        model.get_submodule("classifier").bias.copy_(torch.tensor([bad, 0.0]))
    assert extractor(make_rows(LENGTHS)).misfits() == [Array(LOGITS)]
