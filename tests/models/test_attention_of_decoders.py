"""The attention tap on models with a decoder beside their encoder: three kinds of maps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.models.attention import AttentionKind, AttentionTap, remove_tap
from pipeline.models.inputs import pad_rows
from pipeline.text.token_row import PiecesAsked, TokenRow
from tests.two_stacks import PAD, TYPES, make_two_stacks

TOKENS, TARGETS = (7, 4, 5), (5, 6, 2)
KINDS: dict[AttentionKind, tuple[str, tuple[int, ...], tuple[int, ...], int]] = {
    "encoder": ("encoder_attentions", TOKENS, TOKENS, 4),
    "decoder": ("decoder_attentions", TARGETS, TARGETS, 3),
    "cross": ("cross_attentions", TARGETS, TOKENS, 3),
}
"""What Transformers calls them, the queries and keys of each row, and their layers."""


def make_inputs(tokens: tuple[int, ...] = TOKENS, targets: tuple[int, ...] = TARGETS) -> Any:
    generator = np.random.default_rng(0)

    def draw(length: int) -> Any:
        return generator.integers(5, 40, length, dtype=np.int32)

    rows = [
        TokenRow(draw(n), np.zeros(n, np.int32), PiecesAsked(draw(m), decoder_ids=draw(m)))
        for n, m in zip(tokens, targets, strict=True)
    ]
    inputs = pad_rows(rows, PAD, has_token_types=False)
    del inputs["is_target"]  # which only models of `tasks.head` take
    return {**inputs, "use_cache": False}


def run(model: PreTrainedModel, inputs: Any) -> list[Tensor]:
    outputs = model(**inputs, output_hidden_states=True)
    states = (*outputs.encoder_hidden_states, *outputs.decoder_hidden_states)
    assert len(states) == 5 + 4
    return [outputs.logits, *states]


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("is_even", [False, True], ids=["padded", "even"])
@torch.no_grad()
def test_maps_are_the_models_own_and_the_forward_the_plain_one(
    model_type: str, is_even: bool
) -> None:
    """Catches maps of another layer or kind, without position bias, causal mask or padding's."""
    model, eager = make_two_stacks(model_type), make_two_stacks(model_type)
    eager.set_attn_implementation("eager")
    inputs = make_inputs((7, 7, 7), (6, 6, 6)) if is_even else make_inputs()
    assert model.config._attn_implementation == "sdpa"
    plain, expected = run(model, inputs), eager(**inputs, output_attentions=True)
    tap = AttentionTap(model, [1, 2, 3, 4], decoder_layers=[1, 2, 3], cross_layers=[1, 2, 3])
    tapped = run(model, inputs)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tapped, plain, strict=True))
    for kind, (name, queries, keys, n_layers) in KINDS.items():
        maps = tap.maps(kind)
        assert sorted(maps) == list(range(1, n_layers + 1))
        own = expected[name]
        for layer, found in maps.items():
            for row in range(3):
                n, m = (6 if kind != "encoder" else 7, found.shape[-1])
                if not is_even:
                    n, m = queries[row], keys[row]
                ours, theirs = found[row, :, :n], own[layer - 1][row, :, :n]
                # Eager and fused kernels round states differently (2^-24 at size 1), and T5's
                # scores, which are not scaled, are some hundred; a wrong layer is off by 0.01.
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
                assert not ours[..., m:].any()
                others = [own[k][row, :, :n] for k in range(n_layers) if k != layer - 1]
                assert n == 1 or all((ours - other).abs().max() > 0.01 for other in others)


@pytest.mark.parametrize("model_type", ["t5", "marian", "encoder-decoder"])
def test_only_the_chosen_maps_and_their_gradients(model_type: str) -> None:
    """Catches maps that nobody asked for, and detached ones, which train nothing."""
    model = make_two_stacks(model_type)
    tap = AttentionTap(model, [], cross_layers=[2])
    model(**make_inputs())
    assert tap.maps() == {} and tap.maps("decoder") == {}
    maps = tap.maps("cross")
    assert list(maps) == [2] and maps[2].shape == (3, 4, 6, 7)
    maps[2][0].square().sum().backward()
    assert model.get_input_embeddings().weight.grad.abs().max() > 1e-6
    with pytest.raises(AssertionError, match="the maps were handed over before"):
        tap.maps("cross")
    remove_tap(model)
    with pytest.raises(AssertionError, match="0 of 10 layers called"):
        AttentionTap(model, [1]).maps()


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_gradient_checkpointing_gives_the_same_maps(model_type: str) -> None:
    """Catches a layer that is computed again and taken for the next one's attention."""
    found = []
    for is_checkpointed in (False, True):
        model = make_two_stacks(model_type).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if is_checkpointed:
            model.activation_checkpointing_enable()
        tap = AttentionTap(model, [2], decoder_layers=[1], cross_layers=[3])
        torch.manual_seed(0)
        outputs = model(**make_inputs())
        maps = [*tap.maps().values(), *tap.maps("decoder").values(), *tap.maps("cross").values()]
        (outputs.logits.square().mean() + sum(part.square().mean() for part in maps)).backward()
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        assert len(maps) == 3 and len(grads) > 40
        found.append([*(part.detach() for part in maps), *grads])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
