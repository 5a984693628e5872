"""Attention maps of chosen layers, without changing what the model computes.

The other layers, and the outputs of the chosen ones, keep scaled-dot-product
attention; only for the chosen layers the probabilities are computed beside it, by
the modelling file's own eager function. So the logits are bitwise those of the
plain forward, and a map is the one before dropout.
"""

import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pipeline.errors import CheckpointError

_IMPLEMENTATION = "attention_tap"

# Transformers looks an attention function up by name, for all models of the process.
_TAPS: "WeakKeyDictionary[nn.Module, AttentionTap]" = WeakKeyDictionary()


class AttentionTap:
    """Owns the attention function of one model and keeps the maps of its last forward.

    Attention calls are counted in their order within a forward; the k-th belongs to
    layer k. The maps keep their gradients.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        """Attach to `model`; `layers` are 1 to its number of layers.

        Raises:
            CheckpointError: the model's attention cannot be replaced.
        """
        if not model._can_set_attn_implementation():
            raise CheckpointError(
                f"{type(model).__name__} does not use Transformers' attention interface, "
                "so its attention maps cannot be captured. Leave 'attentions' out."
            )
        self._layers = frozenset(layers)
        self._n_layers = int(model.config.num_hidden_layers)
        self._n_calls = 0
        self._maps: dict[int, Tensor] = {}
        for module in model.modules():
            _TAPS[module] = self
        AttentionInterface.register(_IMPLEMENTATION, _attend)
        # Without a function under the same name here, no mask is built at all.
        AttentionMaskInterface.register(_IMPLEMENTATION, sdpa_mask)
        model.set_attn_implementation(_IMPLEMENTATION)
        model.register_forward_pre_hook(self._begin_forward)

    def maps(self) -> dict[int, Float[Tensor, "batch head query key"]]:
        """Return the maps of the last forward by layer: probabilities, rows sum to 1."""
        assert self._n_calls == self._n_layers, f"{self._n_calls} of {self._n_layers} layers called"
        return self._maps

    def _begin_forward(self, module: nn.Module, args: Any) -> None:
        self._n_calls = 0
        self._maps = {}

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
        if self._n_calls in self._layers:
            eager = sys.modules[type(module).__module__].eager_attention_forward
            without_dropout = {**options, "dropout": 0.0}
            _, self._maps[self._n_calls] = eager(
                module, query, key, value, _additive(attention_mask, query), **without_dropout
            )
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None


def _attend(module: nn.Module, *args: Any, **options: Any) -> tuple[Tensor, None]:
    return _TAPS[module].attend(module, *args, **options)


def _additive(mask: Tensor | None, query: Tensor) -> Tensor | None:
    """Turn a mask of what may be attended to into one that is added to the scores."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    lowest = torch.finfo(query.dtype).min
    return torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, lowest)
