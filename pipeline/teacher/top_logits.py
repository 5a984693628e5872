"""The largest logits of a vocabulary, and what is to be known of all others."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.store.pieces import TopLogits

_SLICE_BYTES = 64 * 2**20
"""Of the logits that are looked at together: what is made of them takes as much again."""


def top_logits(
    logits: Float[Tensor, "target piece"], right: Int[Tensor, " target"], k: int
) -> TopLogits:
    """Return the `k` largest of each target, with the log-sum-exp of all and the right one's.

    `right` are the word pieces that are right. All but the pieces are in float32, or float64
    where the logits are, however few bits these have.
    """
    exact = torch.float64 if logits.dtype == torch.float64 else torch.float32
    n_together = max(1, _SLICE_BYTES // (4 * logits.shape[1]))
    values, pieces, sums = [], [], []
    for some in torch.split(logits, n_together):
        largest = some.to(exact).topk(k)
        values.append(largest.values)
        pieces.append(largest.indices)
        sums.append(some.to(exact).logsumexp(1))
    target = logits.gather(1, right[:, None])[:, 0].to(exact)
    return TopLogits(torch.cat(values), torch.cat(pieces), torch.cat(sums), target)
