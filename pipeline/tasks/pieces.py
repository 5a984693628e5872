"""Predictions of token ids among a whole vocabulary, in the classes of a teacher's top k.

Two models are compared in the teacher's classes of a prediction: its k likeliest ids, each
a class, and one class for all others together, whose logit is

    rest = log(sum over other ids of exp(z)) = log(exp(lse) - sum over the k of exp(z))

with lse the log-sum-exp of all, so that the softmax gives each class its exact probability.
The KL divergence in these classes is at most that between the whole distributions (merging
outcomes loses information: Cover & Thomas, Elements of Information Theory, 2.7), and nearly
that where the teacher leaves little to the others. At a temperature the softmax of `rest`
is no longer what the other pieces have together, which is why objectives refuse it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

LEAST_REST = 8
"""The probability that the other pieces have at least, in units of the last place of 1: less
cannot be told from the rounding of a sum."""


def teacher_classes(
    values: Float[Tensor, "target k"], log_sum_exp: Float[Tensor, " target"]
) -> Float[Tensor, "target class"]:
    """Return a teacher's k largest logits and `rest`, as its k + 1 classes.

    The others have at least LEAST_REST, though rounded logits may leave them nothing.
    """
    import torch

    left_over = 1 - (values - log_sum_exp[:, None]).exp().sum(1)
    least = LEAST_REST * torch.finfo(values.dtype).eps
    rest = log_sum_exp + left_over.clamp(min=least).log()
    return torch.cat([values, rest[:, None]], 1)


def in_classes(
    logits: Float[Tensor, "target piece"], pieces: Int[Tensor, "target k"]
) -> Float[Tensor, "target class"]:
    """Return a model's logits in the classes of a teacher whose likeliest pieces are these."""
    import torch

    others = logits.scatter(1, pieces, -math.inf)
    return torch.cat([logits.gather(1, pieces), others.logsumexp(1, keepdim=True)], 1)
