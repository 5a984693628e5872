"""The loss of training on labels alone.

    L = mean over labelled predictions of -log softmax(z_s)[label]        (nats)

A label that may be there or not is a prediction of two classes, so that for several labels
L is the mean binary cross-entropy. Where a number is to be predicted,

    L = mean over labelled predictions of (z_s - label)^2                 (squared units)

What has no label gives nothing; a batch without any label gives zero.
"""

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.tasks.predictions import Targets
from pipeline.text.tokens import UNLABELLED, is_labelled


class HardLabel(Objective):
    """Cross-entropy of the student's logits with the labels; squared error with numbers."""

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over labelled predictions."""
        logits = student.logits.float()
        if labels.is_floating_point():
            is_labelled = ~labels.isnan()
            errors = (logits.squeeze(1) - labels.nan_to_num()).square()
            return (errors * is_labelled).sum() / is_labelled.sum().clamp(min=1)
        n_labelled = (labels != UNLABELLED).sum().clamp(min=1)
        total = cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
        return total / n_labelled

    def count_targets(self, targets: Targets) -> int:
        """Return the number of labelled predictions."""
        return int(np.count_nonzero(is_labelled(targets.labels)))
