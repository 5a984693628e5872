"""Matching of how alike the rows of a batch are to each other, by their [CLS] states.

With the kernel k, the Gram matrices K[i, j] = k(x_i, x_j) of the student's states of a batch
and L of the teacher's, over the pairs of the layer map:

| kernel | k(x, y), of states of d numbers |
|---|---|
| `linear` | x . y / d |
| `cosine` | x . y / (||x|| ||y||) |
| `rbf` | exp(-||x - y||^2 / (2 m)), m: the median of the batch's squared distances |

| comparison | loss | source |
|---|---|---|
| `cka` | 1 - <K', L'> / (||K'|| ||L'||), K' = K with its row and column means taken off | Kornblith et al. 2019, 1905.00414, equation 4 |
| `rows` | sum of squares of K / ||K[i]|| - L / ||L[i]||, over b^2 | Tung & Mori 2019, 1907.09682, equation 4 |
| `mse` | mean over i, j of (K[i, j] - L[i, j])^2 | |

`cka` is 1 and teaches nothing where the states of one model are all the same, as those of [CLS]
in the embedding output are.

Gram matrices are computed in float64: what tells rows apart may be a small part of them.

No number here has a unit, and the widths of the models need not agree. The loss compares
rows with each other: that of a batch is not made of those of its parts.
"""  # noqa: E501  # a table's row cannot be broken

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.objectives.objective import LossInputs, Objective
from pipeline.objectives.own_weights import PairWeights
from pipeline.objectives.settings import Comparison, Kernel, SimilaritySettings
from pipeline.signals.cls import CLS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array

# Below this a squared norm is one of states that are all the same.
_SMALLEST = 1e-12
# Share of a Gram matrix that sums of a thousand float64 products may be off by. States that are
# all the same leave no more than this, whose direction means nothing and has a huge gradient.
_ROUNDING = 1e-12


class Similarity(Objective):
    """Distance between the Gram matrices of paired layers."""

    def __init__(self, settings: SimilaritySettings, models: Models) -> None:
        super().__init__()
        self.settings = settings
        self.pairs = settings.pairs(models)
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")

    def forward(self, batch: LossInputs) -> Tensor:
        """Return the mean over pairs; zero for a batch of one row."""
        if batch.counts.n_rows < 2:
            return 0 * batch.student.logits.float().sum()
        losses = [
            compare(
                gram(batch.student.signals[Array(CLS, ours)].double(), self.settings.kernel),
                gram(batch.teacher.signals[Array(CLS, theirs)].double(), self.settings.kernel),
                self.settings.comparison,
            )
            for ours, theirs in self.pairs
        ]
        return self.weights.mean(torch.stack(losses).float())


def gram(states: Float[Tensor, "batch hidden"], kernel: Kernel) -> Float[Tensor, "batch other"]:
    """Return the kernel of all pairs of rows."""
    if kernel == "cosine":
        states = normalize(states, dim=-1)
        return states @ states.T
    if kernel == "linear":
        return states @ states.T / states.shape[-1]
    # Not by products: their rounding would be all there is of equal states' distances.
    exactly = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(states, states, compute_mode=exactly).square()
    others = ~torch.eye(len(states), dtype=torch.bool, device=states.device)
    median = distances[others].median().detach().clamp(min=_SMALLEST)
    return torch.exp(-distances / (2 * median))


def compare(
    ours: Float[Tensor, "batch other"], theirs: Float[Tensor, "batch other"], comparison: Comparison
) -> Float[Tensor, ""]:
    """Return the distance of two Gram matrices, zero where they are equal."""
    if comparison == "mse":
        return (ours - theirs).square().mean()
    if comparison == "rows":
        return (normalize(ours, dim=-1) - normalize(theirs, dim=-1)).square().mean()
    return 1 - (_direction(ours) * _direction(theirs)).sum()


def _direction(matrix: Float[Tensor, "batch other"]) -> Float[Tensor, "batch other"]:
    """Return the matrix without its means and at norm 1; zero if what is left is rounding alone."""
    rest = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
    norm = rest.norm()
    is_rounding = norm <= _ROUNDING * matrix.norm()
    # No division by zero in what is masked: its gradient would be no number.
    return torch.where(is_rounding, 0.0, rest / torch.where(is_rounding, 1.0, norm))
