"""The loss of training on labels alone.

    L = mean over labelled predictions of -log softmax(z_s)[label]        (nats)

A label that may be there or not is a prediction of two classes, so that for several labels
L is the mean binary cross-entropy. Where a number is to be predicted,

    L = mean over labelled predictions of (z_s - label)^2                 (squared units)

What has no label gives nothing; a batch without any label gives zero.
"""

from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.objectives.objective import LossInputs, Objective
from pipeline.text.tokens import UNLABELLED


class HardLabel(Objective):
    """Cross-entropy of the student's logits with the labels; squared error with numbers."""

    def forward(self, batch: LossInputs) -> Tensor:
        """Return the mean over labelled predictions."""
        logits, labels = batch.student.logits.float(), batch.labels
        if labels.is_floating_point():
            errors = (logits.squeeze(1) - labels.nan_to_num()).square()
            total = (errors * ~labels.isnan()).sum()
        else:
            total = cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
        return total / max(1, batch.counts.n_labelled)
