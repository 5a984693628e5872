"""The teacher's largest logits computed again: whether they are the largest, and of whom.

A piece that the store left out may be no larger, in float64, than one that it has, but for
what the arithmetic of either was off by: 2 e, with e as in `recompute_bound`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from pipeline.store.pieces import arrays_of_top
from pipeline.store.spec import Arrays, ArraySpec


def with_whole_vocabulary(arrays: Arrays, n_pieces: int) -> Arrays:
    """Return the arrays to compute, to compare with these: all logits for the largest."""
    top = arrays_of_top(n_pieces)
    computed = {array: encoding for array, encoding in arrays.items() if not array.k}
    if len(computed) < len(arrays):
        computed |= {top.values: "float32", top.pieces: "int32"}
    return computed


def by_piece(
    computed: Mapping[ArraySpec, Tensor], n_pieces: int
) -> Float64[Tensor, "target piece"]:
    """Return all logits of a row's targets, in the vocabulary's order."""
    top = arrays_of_top(n_pieces)
    values = computed[top.values].double()
    return torch.empty_like(values).scatter(1, computed[top.pieces], values).cpu()


def excess(
    logits: Float64[Tensor, "target piece"], stored: Int[Tensor, "target k"]
) -> Float64[Tensor, " target"]:
    """Return by how much the largest logit that is not stored exceeds the least that is."""
    least = logits.gather(1, stored).amin(1)
    largest = logits.scatter(1, stored, -torch.inf).amax(1)
    return (largest - least).clamp(min=0)
