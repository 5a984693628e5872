"""What one part of a batch gives: the student's forward and its objectives, as one module."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.core.errors import SettingsError
from pipeline.objectives.needs import Needs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.train.batches import Batch
from pipeline.train.forward import make_forward
from pipeline.train.precision import autocast
from pipeline.train.settings import TrainingSettings


class DistillationStep(nn.Module):
    """Student and objectives together, so that processes can share the gradients of both."""

    def __init__(
        self,
        student: PreTrainedModel,
        objective: WeightedSum,
        needs: Needs,
        settings: TrainingSettings,
    ) -> None:
        """Prepare `student` to give what `needs` names, in the way that `settings` ask for.

        Raises:
            CheckpointError: attention maps are needed and the student cannot give them.
            SettingsError: the student has no gradient checkpointing.
        """
        super().__init__()
        self.student = student
        self.objective = objective
        self._settings = settings
        self._forward = make_forward(student, needs)
        if settings.gradient_checkpointing:
            if not student.supports_gradient_checkpointing:
                raise SettingsError(
                    [
                        f"training.gradient_checkpointing: {type(student).__name__} does not have "
                        "it; set it to false"
                    ]
                )
            student.activation_checkpointing_enable({"use_reentrant": False})
        if settings.compile:
            student.compile(dynamic=True)

    def forward(
        self, part: Batch, shares: Mapping[str, float], progress: float
    ) -> Float[Tensor, " value"]:
        """Return the part's total loss, then each objective's term, on the student's device.

        `progress` is the share of the training's updates that was made, from 0 to 1.
        """
        with autocast(self._settings, part.labels.device):
            outputs = self._forward(part)
        total, terms = self.objective(outputs, part.teacher(), part.labels, shares, progress)
        return torch.stack([total, *terms.values()])
