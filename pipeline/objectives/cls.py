"""Matching of [CLS] states of intermediate layers: Patient KD.

With h' = h / ||h|| for `normalise: l2`, h / s_t for `standardise` (s_t: the standard
deviation of each number of the teacher's [CLS] over the rows of its store) and h for
`none`, over the pairs of the layer map:

    mean: L = mean over rows, pairs and dimensions of (h'_s - h'_t)^2
    sum:  L = mean over rows of the sum over pairs of ||h'_s - h'_t||^2

Sun et al. 2019, 1908.09355, equation 7 is `sum` with `l2` (summed over the rows as
well); the authors' public code computes `mean`. They differ by pairs x width. With
`projection` the student's state is multiplied by a learned matrix first.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.objectives.models import Models
from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.own_weights import PairWeights, Projection
from pipeline.objectives.settings import ClsObjectiveSettings

# Numbers of [CLS] that hardly change count as if they had this share of the layer's mean
# deviation: rounding of the store would be large in units of theirs.
SMALLEST_SHARE = 1e-3


class ClsMatch(Objective):
    """Squared distance between [CLS] states of paired layers."""

    def __init__(self, settings: ClsObjectiveSettings, models: Models) -> None:
        super().__init__()
        self.settings = settings
        self.pairs = settings.pairs(models)
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")
        layers = (ours for ours, _ in self.pairs)
        self.projection = Projection(models, layers, is_learned=settings.projection)

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the loss; a squared length, or squared cosine distance under `l2`."""
        losses = []
        for ours, theirs in self.pairs:
            states = self.projection(student.cls[ours], ours), teacher.cls[theirs]
            student_state, teacher_state = self._normalise(states, teacher, theirs)
            losses.append((student_state - teacher_state).square().sum(-1).mean())
        mean = self.weights.mean(torch.stack(losses))
        if self.settings.reduction == "sum":
            return mean * self.weights.n_taught
        return mean / next(iter(teacher.cls.values())).shape[-1]

    def _normalise(
        self, states: tuple[Tensor, Tensor], teacher: TeacherSignals, layer: int
    ) -> tuple[Tensor, ...]:
        if self.settings.normalise == "l2":
            return tuple(normalize(state, dim=-1) for state in states)
        if self.settings.normalise == "standardise":
            deviation = teacher.cls_deviations[layer]
            deviation = deviation.clamp(min=SMALLEST_SHARE * float(deviation.mean()) or 1.0)
            return tuple(state / deviation for state in states)
        return states
