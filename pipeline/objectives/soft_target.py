"""Soft targets: the teacher's probabilities at a temperature.

    L = T^2 mean over rows of KL(softmax(z_t / T) || softmax(z_s / T))        (nats)

Hinton et al. 2015, 1503.02531, section 2: gradients scale with 1/T^2, so the factor
keeps the term's share in the total as T changes. The published loss is the
cross-entropy; it differs from the KL by the teacher's entropy, which has no gradient.
"""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from pipeline.objectives.objective import (
    Depths,
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.store.spec import ArraySpec


class SoftTargetSettings(ObjectiveSettings):
    """Settings of `soft_target`."""

    temperature: float = Field(default=4.0, gt=0)
    """Divides both models' logits; higher shows more of the small probabilities."""

    def needs(self, depths: Depths) -> Needs:
        """Return that the teacher's logits are read."""
        return Needs(teacher=frozenset({ArraySpec("logits")}))

    def build(self, depths: Depths) -> Objective:
        """Return the loss itself."""
        return SoftTarget(self.temperature)


class SoftTarget(Objective):
    """Temperature-scaled KL divergence from the teacher's to the student's prediction."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows, in nats times T^2."""
        assert teacher.logits is not None
        student_log = log_softmax(student.logits.float() / self.temperature, dim=-1)
        teacher_log = log_softmax(teacher.logits / self.temperature, dim=-1)
        divergence = kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence
