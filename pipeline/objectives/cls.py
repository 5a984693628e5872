"""Matching of [CLS] states of intermediate layers: Patient KD.

With h' = h / ||h|| for `normalise: l2` and h' = h for `none`, over the pairs of the
layer map:

    mean: L = mean over rows, pairs and dimensions of (h'_s - h'_t)^2
    sum:  L = mean over rows of the sum over pairs of ||h'_s - h'_t||^2

Sun et al. 2019, 1908.09355, equation 7 is `sum` with `l2` (summed over the rows as
well); the authors' public code computes `mean`. They differ by pairs x width.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.objectives.layer_map import LayerMap, LayerPair, resolve
from pipeline.objectives.objective import (
    Depths,
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.store.spec import ArraySpec


class ClsObjectiveSettings(ObjectiveSettings):
    """Settings of `cls`."""

    layer_map: LayerMap = "skip"
    normalise: Literal["l2", "none"] = "l2"
    """`l2` compares directions only."""
    reduction: Literal["mean", "sum"] = "sum"
    """`sum` is the paper's formula, `mean` its authors' code."""

    def needs(self, depths: Depths) -> Needs:
        """Return that [CLS] states are read, of the student at the mapped layers."""
        pairs = resolve(self.layer_map, depths, lowest=0)
        return Needs(
            teacher=frozenset({ArraySpec("cls")}),
            student_cls=frozenset(student for student, _ in pairs),
        )

    def build(self, depths: Depths) -> Objective:
        """Return the loss itself."""
        return ClsMatch(resolve(self.layer_map, depths, lowest=0), self.normalise, self.reduction)


class ClsMatch(Objective):
    """Squared distance between [CLS] states of paired layers of equal width."""

    def __init__(
        self,
        pairs: list[LayerPair],
        normalise: Literal["l2", "none"],
        reduction: Literal["mean", "sum"],
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.normalise = normalise
        self.reduction = reduction

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the loss; a squared length, or squared cosine distance under `l2`."""
        student_states = torch.stack([student.cls[ours].float() for ours, _ in self.pairs], 1)
        teacher_states = torch.stack([teacher.cls[theirs] for _, theirs in self.pairs], 1)
        if self.normalise == "l2":
            student_states = normalize(student_states, dim=-1)
            teacher_states = normalize(teacher_states, dim=-1)
        squared = (student_states - teacher_states) ** 2
        return squared.mean() if self.reduction == "mean" else squared.sum((1, 2)).mean()
