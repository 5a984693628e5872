"""Matching of logits, the high-temperature limit of soft targets.

    L = mean over predictions of the mean over classes of (z_s - z_t)^2        (squared logits)

Of a question's choices, or a row's tokens, those count that it has. Of word pieces the
classes are the teacher's likeliest ones and one for all others (`tasks.pieces`).

Ba & Caruana 2014, 1312.6184, equation 1 (there halved, and without the mean over labels).
"""

from torch import Tensor

from pipeline.objectives.objective import LossInputs, Objective
from pipeline.tasks.predictions import is_there


class LogitMatch(Objective):
    """Mean squared difference of logits."""

    def forward(self, batch: LossInputs) -> Tensor:
        """Return the mean over predictions; zero without one."""
        teacher = batch.teacher
        assert teacher.logits is not None
        counted = is_there(teacher.logits)
        errors = (teacher.classes_of(batch.student) - teacher.logits).square() * counted
        means = errors.sum(-1) / counted.sum(-1).clamp(min=1)
        return means.sum() / max(1, batch.counts.n_predictions)
