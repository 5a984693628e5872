"""Matching of logits, the high-temperature limit of soft targets.

    L = mean over predictions of mean over classes of (z_s - z_t)^2        (squared logits)

Ba & Caruana 2014, 1312.6184, equation 1 (there halved, and without the mean over labels).
"""

from torch import Tensor
from torch.nn.functional import mse_loss

from pipeline.objectives.models import Models
from pipeline.objectives.objective import (
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.tasks.predictions import ABSENT, Targets


class LogitMatchSettings(ObjectiveSettings):
    """Settings of `logit_match`."""

    def needs(self, models: Models) -> Needs:
        """Return that the teacher's logits are read."""
        return Needs(teacher=frozenset({models.logits}))

    def build(self, models: Models) -> Objective:
        """Return the loss itself."""
        return LogitMatch()


class LogitMatch(Objective):
    """Mean squared difference of logits."""

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over predictions of that over the classes which they have."""
        assert teacher.logits is not None
        squares = mse_loss(student.logits.float(), teacher.logits, reduction="none")
        n_classes = (teacher.logits != ABSENT).sum(-1)
        return (squares.sum(-1) / n_classes).mean()

    def count_targets(self, targets: Targets) -> int:
        """Return the number of predictions."""
        return len(targets.labels)
