"""Logits of the word pieces that are asked for, and of no other place.

A vocabulary's logits are most of what a language model computes and nearly all of what it
holds: for 4,096 tokens and 50,000 pieces 800 MB, of which a masked model needs an eighth.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class AtTargets:
    """Lets a language model take `is_target` (row, token) and give logits (target, piece).

    The last projection, onto the vocabulary, is given the states of the targets alone, row
    after row. A model that is called without `is_target` gives logits of all tokens.

    Raises:
        CheckpointError: the model has no such projection.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        projection = model.get_output_embeddings()
        if projection is None:
            raise CheckpointError(
                f"a {type(model).__name__} has no output embeddings, so it predicts no word "
                "piece. Use a checkpoint of a language model."
            )
        self._is_target: Tensor | None = None
        model.register_forward_pre_hook(self._take, with_kwargs=True)
        projection.register_forward_pre_hook(self._choose)

    def _take(
        self, model: "nn.Module", args: tuple[Any, ...], inputs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keep `is_target` for the projection of this call."""
        self._is_target = inputs.get("is_target")
        return args, {name: value for name, value in inputs.items() if name != "is_target"}

    def _choose(self, projection: "nn.Module", args: tuple["Tensor", ...]) -> tuple["Tensor", ...]:
        """Return the states of the targets, (target, hidden), of all states."""
        states, *others = args
        return args if self._is_target is None else (states[self._is_target], *others)
