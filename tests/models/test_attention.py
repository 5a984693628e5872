"""The attention tap: true maps of chosen layers, from a forward that it does not change."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from pipeline.core.errors import CheckpointError
from pipeline.models.attention import AttentionTap, remove_tap
from pipeline.models.inputs import pad_rows
from tests.conftest import MODEL_TYPES, make_model, make_rows

LENGTHS = (9, 4, 6)


def make_inputs(model: PreTrainedModel, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    pad_id = model.config.pad_token_id
    assert pad_id is not None
    has_token_types = MODEL_TYPES[model.config.model_type]
    return pad_rows(make_rows(lengths), pad_id, has_token_types=has_token_types)


def run(model: PreTrainedModel, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Return the logits and all hidden states."""
    outputs = model(**inputs, output_hidden_states=True)
    assert len(outputs.hidden_states) == model.config.num_hidden_layers + 1
    return [outputs.logits, *outputs.hidden_states]


OWN_ATTENTION = ("deberta-v2", "mpnet")
"""Types that do not have Transformers' scaled-dot-product attention."""


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("lengths", [LENGTHS, (9, 9), (1, 1)], ids=["padded", "even", "short"])
@torch.no_grad()
def test_the_forward_is_bitwise_the_plain_one(model_type: str, lengths: tuple[int, ...]) -> None:
    """Catches eager attention in the outputs, or a forward without its padding mask."""
    model = make_model(model_type)
    inputs = make_inputs(model, lengths)
    assert model.config._attn_implementation == ("eager" if model_type in OWN_ATTENTION else "sdpa")
    plain = run(model, inputs)
    tap = AttentionTap(model, [1, 3])
    tapped = run(model, inputs)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tapped, plain, strict=True))
    assert sorted(tap.maps()) == [1, 3]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("lengths", [LENGTHS, (9, 9, 9)], ids=["padded", "even"])
@torch.no_grad()
def test_maps_are_the_models_own(model_type: str, lengths: tuple[int, ...]) -> None:
    """Catches scores without scaling or mask, and maps of another layer, head or key head."""
    model, eager = make_model(model_type), make_model(model_type)
    eager.set_attn_implementation("eager")
    inputs = make_inputs(model, lengths)
    expected = eager(**inputs, output_attentions=True).attentions
    assert len(expected) == 3
    tap = AttentionTap(model, [1, 2, 3])
    model(**inputs)
    maps = tap.maps()
    for layer in (1, 2, 3):
        assert maps[layer].shape == (3, 4, 9, 9)
        for row, n in enumerate(lengths):
            ours, theirs = maps[layer][row, :, :n], expected[layer - 1][row, :, :n]
            # Eager and fused kernels round states differently (2^-24 at size 1); a few layers
            # make 1e-6 of it; a wrong layer or head is off by 0.01 and more.
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
            assert not ours[..., n:].any()
            others = [expected[k][row, :, :n] for k in range(3) if k != layer - 1]
            assert all((ours - other).abs().max() > 0.01 for other in others)
            assert (ours - theirs.roll(1, 0)).abs().max() > 0.01


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@torch.no_grad()
def test_maps_are_of_the_last_forward_and_the_chosen_layers(model_type: str) -> None:
    """Catches maps of layers that nobody asked for, or left over from an earlier batch."""
    model = make_model(model_type)
    tap = AttentionTap(model, [2])
    model(**make_inputs(model))
    first = tap.maps()
    model(**make_inputs(model, (3, 5)))
    second = tap.maps()
    assert list(first) == [2] and first[2].shape == (3, 4, 9, 9)
    assert list(second) == [2] and second[2].shape == (2, 4, 5, 5)
    with pytest.raises(AssertionError, match="the maps were handed over before"):
        tap.maps()


@pytest.mark.parametrize("model_type", ["bert", *OWN_ATTENTION])
@torch.no_grad()
def test_a_second_tap_replaces_the_first(model_type: str) -> None:
    """Catches a model that is set up for other layers and still gives the old ones."""
    model = make_model(model_type)
    first, second = AttentionTap(model, [1]), AttentionTap(model, [2, 3])
    model(**make_inputs(model))
    assert sorted(second.maps()) == [2, 3]
    with pytest.raises(AssertionError, match="0 of 3 layers called"):
        first.maps()


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@torch.no_grad()
def test_a_removed_tap_leaves_the_plain_model(model_type: str) -> None:
    """Catches maps that are computed for nobody, or a model left without its attention."""
    model = make_model(model_type)
    implementation, inputs = model.config._attn_implementation, make_inputs(model)
    plain = run(model, inputs)
    tap = AttentionTap(model, [1])
    remove_tap(model)
    assert model.config._attn_implementation == implementation
    assert all(torch.equal(*pair) for pair in zip(run(model, inputs), plain, strict=True))
    with pytest.raises(AssertionError, match="0 of 3 layers called"):
        tap.maps()


@torch.no_grad()
def test_two_models_have_a_tap_each() -> None:
    """Catches taps that share the attention function they register."""
    bert, electra = make_model("bert"), make_model("electra")
    taps = AttentionTap(bert, [1]), AttentionTap(electra, [2])
    bert(**make_inputs(bert))
    electra(**make_inputs(electra, (3, 5)))
    maps = [tap.maps() for tap in taps]
    assert [list(of_tap) for of_tap in maps] == [[1], [2]]
    assert [len(next(iter(of_tap.values()))) for of_tap in maps] == [3, 2]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_gradients_flow_through_maps(model_type: str) -> None:
    """Catches detached maps, which train nothing and lower no loss."""
    model = make_model(model_type)
    tap = AttentionTap(model, [2])
    model(**make_inputs(model))
    tap.maps()[2][0].square().sum().backward()
    queries = [
        weight
        for name, weight in model.named_parameters()
        if re.search(r"\.(query|q_lin|query_proj|q|Wqkv|c_attn|q_proj)\.weight$", name)
    ]
    assert len(queries) == (1 if model_type == "albert" else 3)  # shared by all layers
    for weight in queries[:2]:
        assert weight.grad is not None and weight.grad.abs().max() > 1e-4
    for weight in queries[2:]:
        assert weight.grad is None or not weight.grad.any()


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_maps_are_before_dropout(model_type: str) -> None:
    """Catches maps with zeros and ones over 0.9 in training, which are no probabilities."""
    model, eager = make_model(model_type).train(), make_model(model_type)
    eager.set_attn_implementation("eager")
    inputs = make_inputs(model)
    with torch.no_grad():
        expected = eager(**inputs, output_attentions=True).attentions
    assert not torch.equal(model(**inputs).logits, model(**inputs).logits)  # dropout is on
    torch.manual_seed(0)
    plain = model(**inputs).logits
    tap = AttentionTap(model, [1, 2, 3])
    torch.manual_seed(0)
    assert torch.equal(model(**inputs).logits, plain)  # the tap takes no random number
    for layer, maps in tap.maps().items():
        for row, n in enumerate(LENGTHS):
            real = maps[row, :, :n, :n]
            # Zero where the mask makes it so, and nowhere else.
            assert torch.equal(real > 0, expected[layer - 1][row, :, :n, :n] > 0)
            # Sums of 9 numbers below 1, each rounded to 24 bits.
            torch.testing.assert_close(real.sum(-1), torch.ones(4, n), rtol=0, atol=2 * 9 * 2**-24)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@torch.no_grad()
def test_mixed_precision_keeps_the_forward_and_the_mask(model_type: str) -> None:
    """Catches a mask whose lowest value overflows the narrower type to NaN."""
    model = make_model(model_type)
    inputs = make_inputs(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = run(model, inputs)
        tap = AttentionTap(model, [1, 2, 3])
        tapped = run(model, inputs)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tapped, plain, strict=True))
    for maps in tap.maps().values():
        for row, n in enumerate(LENGTHS):
            assert not maps[row, :, :n, n:].any()
            # bfloat16 keeps 8 bits of each probability.
            torch.testing.assert_close(
                maps[row, :, :n].float().sum(-1), torch.ones(4, n), rtol=0, atol=2**-8
            )


def test_refuses_a_model_with_attention_of_its_own() -> None:
    """Catches a student whose maps are silently absent."""
    config = AutoConfig.for_model(
        "deberta",
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    model = AutoModelForSequenceClassification.from_config(config)
    message = (
        "DebertaForSequenceClassification does not use Transformers' attention interface, so its "
        "attention maps cannot be captured. Leave 'attentions' out."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        AttentionTap(model, [1])
