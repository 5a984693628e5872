"""Attention maps of chosen layers, without changing what the model computes.

The other layers, and the outputs of the chosen ones, keep scaled-dot-product
attention; only for the chosen layers the probabilities are computed beside it, by
the modelling file's own eager function. So the logits are bitwise those of the
plain forward, and a map is the one before dropout. Models that compute attention
in their own way (DeBERTa-v2, MPNet) are looked at where their maps enter dropout.

Of a model with a decoder there are three kinds of maps: the encoder's, the decoder's over
what it has been given so far, and its cross-attention's, decoder tokens over encoder tokens.
"""

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pipeline.core.errors import CheckpointError
from pipeline.models.encoder_decoder import layer_counts

AttentionKind = Literal["encoder", "decoder", "cross"]
"""Whose maps: `encoder` is the only kind of a model without a decoder beside it."""

_IMPLEMENTATION = "attention_tap"
_OWN_ATTENTION = {"deberta-v2": "DisentangledSelfAttention", "mpnet": "MPNetSelfAttention"}
"""Model types that do not use Transformers' attention interface, and the class of each layer
whose module `dropout` is given the maps."""

# Transformers looks an attention function up by name, for all models of the process.
_TAPS: "WeakKeyDictionary[nn.Module, AttentionTap]" = WeakKeyDictionary()


class AttentionTap:
    """Gives the maps of one model's last forward; owns the model's attention function.

    Attention calls are counted in their order within a forward: the k-th is layer k's; behind
    an encoder's layers follow each decoder layer's own attention and its cross-attention. The
    maps keep their gradients. Calls beyond those of the forward are those by which gradient
    checkpointing computes a layer again: they do the same, but their maps are not wanted.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Iterable[int],
        *,
        decoder_layers: Iterable[int] = (),
        cross_layers: Iterable[int] = (),
    ) -> None:
        """Attach to `model` in place of an earlier tap.

        `layers` are 1 to its number of layers; the others, those of its decoder.

        Raises:
            CheckpointError: the model gives no attention maps.
        """
        n_layers, n_decoder = layer_counts(model.config)
        self._calls: dict[AttentionKind, dict[int, int]] = {
            "encoder": {layer: layer for layer in layers},
            "decoder": {layer: n_layers + 2 * layer - 1 for layer in decoder_layers},
            "cross": {layer: n_layers + 2 * layer for layer in cross_layers},
        }
        """The number of the attention call of each layer that is wanted."""
        self._chosen = frozenset(call for kind in self._calls.values() for call in kind.values())
        self._n_expected = n_layers + 2 * n_decoder
        self._n_calls = 0
        self._maps: dict[int, Tensor] = {}
        """By the number of their call."""
        self._calls_of: dict[nn.Module, set[int]] = {}
        own = _OWN_ATTENTION.get(model.config.model_type)
        if own is None and not model._can_set_attn_implementation():
            raise CheckpointError(
                f"{type(model).__name__} does not use Transformers' attention interface, "
                "so its attention maps cannot be captured. Leave 'attentions' out."
            )
        remove_tap(model)
        for module in model.modules():
            _TAPS[module] = self
        self._hooks = [model.register_forward_pre_hook(self._begin_forward)]
        if own is None:
            AttentionInterface.register(_IMPLEMENTATION, _attend)
            # Without a function under the same name here, no mask is built at all.
            AttentionMaskInterface.register(_IMPLEMENTATION, sdpa_mask)
            model.set_attn_implementation(_IMPLEMENTATION)
        else:
            self._hooks += self._watch_dropout(model, own)

    def maps(
        self, kind: AttentionKind = "encoder"
    ) -> dict[int, Float[Tensor, "batch head query key"]]:
        """Hand over the maps of the last forward, once: probabilities, rows sum to 1."""
        n_calls, n_expected = self._n_calls, self._n_expected
        assert n_calls >= n_expected, f"{n_calls} of {n_expected} layers called"
        calls = self._calls[kind]
        assert self._maps.keys() >= set(calls.values()), "the maps were handed over before"
        return {layer: self._maps.pop(call) for layer, call in calls.items()}

    def detach(self) -> None:
        """Take what hangs on the model off; it keeps the attention function."""
        for hook in self._hooks:
            hook.remove()

    def _begin_forward(self, module: nn.Module, args: Any) -> None:
        self._n_calls = 0
        self._maps = {}

    def _watch_dropout(self, model: PreTrainedModel, class_name: str) -> list[RemovableHandle]:
        layers = [module for module in model.modules() if type(module).__name__ == class_name]
        return [
            layer.get_submodule("dropout").register_forward_pre_hook(partial(self._see, number))
            for number, layer in enumerate(layers, start=1)
        ]

    def _see(self, layer: int, dropout: nn.Module, args: tuple[Tensor]) -> None:
        self._n_calls += 1
        if layer in self._chosen and self._n_calls <= self._n_expected:
            self._maps[layer] = args[0]

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **options: Any,
    ) -> tuple[Tensor, None]:
        """Attend as scaled-dot-product attention does, and keep a chosen layer's map."""
        self._n_calls += 1
        is_again = self._n_calls > self._n_expected
        if not is_again:
            self._calls_of.setdefault(module, set()).add(self._n_calls)
        if self._is_chosen(module, is_again=is_again):
            eager = sys.modules[type(module).__module__].eager_attention_forward
            mask = _additive(attention_mask, query, key, module, options)
            # The product with the values is not looked at, so one column of them is enough.
            _, probabilities = eager(
                module, query, key, value[..., :1], mask, **{**options, "dropout": 0.0}
            )
            if not is_again:
                self._maps[self._n_calls] = probabilities
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None

    def _is_chosen(self, module: nn.Module, *, is_again: bool) -> bool:
        """Say whether this call is that of a layer whose map is wanted."""
        if not is_again:
            return self._n_calls in self._chosen
        chosen = self._calls_of[module] & self._chosen
        if chosen and chosen != self._calls_of[module]:
            raise CheckpointError(
                "the layers of this model share their weights, so gradient checkpointing cannot "
                "tell those whose attention maps are compared. Compare all layers or none, or "
                "set training.gradient_checkpointing to false."
            )
        return bool(chosen)


def remove_tap(model: PreTrainedModel) -> None:
    """Give a model its plain scaled-dot-product attention back, if it has it at all."""
    earlier = _TAPS.get(model)
    if earlier is not None:
        earlier.detach()
    for module in model.modules():
        _TAPS.pop(module, None)
    if model._can_set_attn_implementation():
        model.set_attn_implementation("sdpa")


def _attend(module: nn.Module, *args: Any, **options: Any) -> tuple[Tensor, None]:
    return _TAPS[module].attend(module, *args, **options)


def _additive(
    mask: Tensor | None, query: Tensor, key: Tensor, module: nn.Module, options: dict[str, Any]
) -> Tensor | None:
    """Turn a mask of what may be attended to into one that is added to the scores."""
    if mask is None:
        is_causal = options.get("is_causal")
        if is_causal is None:  # as in `sdpa_attention_forward`, which then masks by itself
            is_causal = getattr(module, "is_causal", True)
        if not is_causal:
            return None
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
        mask = mask.tril()
    if mask.dtype != torch.bool:
        return mask
    lowest = torch.finfo(query.dtype).min
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, lowest)
