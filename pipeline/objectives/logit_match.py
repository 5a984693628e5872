"""Matching of logits, the high-temperature limit of soft targets.

    L = mean over predictions of the mean over classes of (z_s - z_t)^2        (squared logits)

Of a question's choices, or a row's tokens, those count that it has. Of word pieces the
classes are the teacher's likeliest ones and one for all others (`tasks.pieces`).

Ba & Caruana 2014, 1312.6184, equation 1 (there halved, and without the mean over labels).
"""

from torch import Tensor

from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.tasks.predictions import Targets, is_there


class LogitMatch(Objective):
    """Mean squared difference of logits."""

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over predictions; zero without one."""
        assert teacher.logits is not None
        counted = is_there(teacher.logits)
        errors = (teacher.classes_of(student) - teacher.logits).square() * counted
        return (errors.sum(-1) / counted.sum(-1).clamp(min=1)).sum() / max(1, len(errors))

    def count_targets(self, targets: Targets) -> int:
        """Return the number of predictions."""
        return len(targets.labels)
