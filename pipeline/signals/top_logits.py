"""The top-k logits of a vocabulary at each target, and what is to be known of all others.

The logits of a whole vocabulary are too many to keep. For each target there are the k largest and
their token ids; the log-sum-exp of all, so that the probability of each of the k is
exp(logit - log_sum_exp) and what they leave is known too; and the logit of the right token,
wherever it ranks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import StoreIncompleteError
from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis
from pipeline.signals.signal import Array, Signal

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from pipeline.models.probe import Forward

_SLICE_BYTES = 64 * 2**20
"""Size of the logits that are looked at together: what is made of them takes as much again."""


class TopLogits(NamedTuple):
    """What a teacher predicts at each target, row after row."""

    values: Float[Tensor, "target k"]
    """Logits, descending."""
    pieces: Int[Tensor, "target k"]
    """Their token ids."""
    log_sum_exp: Float[Tensor, " target"]
    """Over the whole vocabulary."""
    target: Float[Tensor, " target"]
    """The logit of the right token."""


def top_logits(
    logits: Float[Tensor, "target piece"], right: Int[Tensor, " target"], k: int
) -> TopLogits:
    """Return the `k` largest of each target, with the log-sum-exp of all and the right one's.

    `right` are the right token ids. All but the ids are in float32, or float64 where the logits
    are, however few bits these have.
    """
    import torch

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


def _take(forward: Forward, array: Array) -> Tensor:
    def compute() -> TopLogits:
        logits, right = forward.logits, forward.label_ids
        assert right is not None, "rows without label positions"
        assert len(logits) == len(right), f"{len(logits)} logits of {len(right)} targets"
        k = max(asked.k for asked in forward.arrays if isinstance(asked, Array))
        return top_logits(logits, right, max(k, 1))

    top: TopLogits = forward.once("top-k logits", compute)
    part: Tensor = {
        TOP_LOGITS: top.values,
        TOP_PIECES: top.pieces,
        LOG_SUM_EXP: top.log_sum_exp,
        TARGET_LOGITS: top.target,
    }[array.signal]
    return part[:, : array.k] if array.k else part


def _ranks(array: Array, model: Architecture) -> tuple[int, ...]:
    return (array.k,)


TOP_LOGITS = Signal(
    name="top_logits",
    called="top-k logits",
    axis=Axis.TARGET,
    take=_take,
    width=_ranks,
    array_name="logits/top-{k}",
)
TOP_PIECES = Signal(
    name="top_pieces",
    called="token ids of top-k logits",
    axis=Axis.TARGET,
    take=_take,
    width=_ranks,
    array_name="logits/top-{k}-pieces",
    encodings=("int32",),
)
LOG_SUM_EXP = Signal(
    name="log_sum_exp",
    called="log-sum-exps of logits",
    axis=Axis.TARGET,
    take=_take,
    array_name="logits/log_sum_exp",
    encodings=("float32",),
)
TARGET_LOGITS = Signal(
    name="target_logits",
    called="logits of the right tokens",
    axis=Axis.TARGET,
    take=_take,
    array_name="logits/target",
    encodings=("float32",),
)


class TopArrays(NamedTuple):
    """The arrays that together hold what a teacher predicts at each target."""

    values: Array
    pieces: Array
    log_sum_exp: Array
    target: Array


def top_k_arrays(k: int) -> TopArrays:
    """Return the arrays with the `k` largest logits of each target."""
    return TopArrays(
        Array(TOP_LOGITS, k=k), Array(TOP_PIECES, k=k), Array(LOG_SUM_EXP), Array(TARGET_LOGITS)
    )


def whole_top_k(arrays: Iterable[Array]) -> TopArrays:
    """Return, of these arrays, those with the top-k logits; the largest k there is.

    Raises:
        StoreIncompleteError: one of the four is not among them.
    """
    held = set(arrays)
    counts = sorted(array.k for array in held if array.signal == TOP_LOGITS)
    whole = [top for k in counts if held.issuperset(top := top_k_arrays(k))]
    if not whole:
        names = ", ".join(sorted(array.name for array in held)) or "nothing"
        raise StoreIncompleteError(
            "the teacher's largest logits, logits/top-K, are not all there; there is "
            f"{names}. Run 'dvc repro capture' for a task that predicts word pieces."
        )
    return whole[-1]
