"""What a store holds of a teacher that predicts word pieces.

The logits of a whole vocabulary are too many to keep. Of each target there are the k largest
and whose they are; the logarithm of the sum of all exponentials, so that the probability of
each of the k is exp(logit - log_sum_exp) and what they leave is known too; and the logit of
the right piece, wherever it ranks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import StoreIncompleteError
from pipeline.store.spec import LOG_SUM_EXP, TARGET_LOGITS, ArraySpec, logits_array
from pipeline.tasks.task import Unit

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class TopArrays(NamedTuple):
    """The arrays that together hold what a teacher predicts at each target."""

    values: ArraySpec
    pieces: ArraySpec
    log_sum_exp: ArraySpec
    target: ArraySpec


class TopLogits(NamedTuple):
    """What a teacher predicts at each target, row after row."""

    values: Float[Tensor, "target k"]
    """Logits, descending."""
    pieces: Int[Tensor, "target k"]
    """The word pieces that they are of."""
    log_sum_exp: Float[Tensor, " target"]
    """Over the whole vocabulary."""
    target: Float[Tensor, " target"]
    """The logit of the right piece."""


def arrays_of_top(k: int) -> TopArrays:
    """Return the arrays with the `k` largest logits of each target."""
    return TopArrays(
        ArraySpec("top_logits", k=k), ArraySpec("top_pieces", k=k), LOG_SUM_EXP, TARGET_LOGITS
    )


def top_arrays(arrays: Iterable[ArraySpec]) -> TopArrays:
    """Return, of these arrays, those with the largest logits; the most there are of them.

    Raises:
        StoreIncompleteError: one of the four is not among them.
    """
    held = set(arrays)
    counts = sorted(array.k for array in held if array.signal == "top_logits")
    whole = [top for k in counts if held.issuperset(top := arrays_of_top(k))]
    if not whole:
        names = ", ".join(sorted(array.name for array in held)) or "nothing"
        raise StoreIncompleteError(
            "the teacher's largest logits, logits/top-K, are not all there; there is "
            f"{names}. Run 'dvc repro capture' for a task that predicts word pieces."
        )
    return whole[-1]


def arrays_of_logits(predicts: Unit, held: Iterable[ArraySpec]) -> tuple[ArraySpec, ...]:
    """Return the arrays, out of those that a store holds, with a teacher's logits.

    Raises:
        StoreIncompleteError: of a teacher of word pieces, they are not all there.
    """
    return top_arrays(held) if predicts == "piece" else (logits_array(predicts),)
