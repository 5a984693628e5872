"""Cross-entropy with the labels.

    L = mean over labelled rows of -log softmax(z_s)[label]        (nats)

Unlabelled rows give nothing; a batch without any label gives zero.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.objectives.models import Models
from pipeline.objectives.objective import (
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.text.tokens import UNLABELLED


class HardLabelSettings(ObjectiveSettings):
    """Settings of `hard_label`."""

    def build(self, models: Models) -> Objective:
        """Return the loss itself."""
        return HardLabel()


class HardLabel(Objective):
    """Cross-entropy of the student's logits with the labels."""

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over labelled rows, in nats."""
        n_labelled = (labels != UNLABELLED).sum().clamp(min=1)
        total = cross_entropy(
            student.logits.float(), labels, ignore_index=UNLABELLED, reduction="sum"
        )
        return total / n_labelled

    def count_targets(self, labels: NDArray[np.int64]) -> int:
        """Return the number of labelled rows."""
        return int(np.count_nonzero(labels != UNLABELLED))
