"""What one part of a batch gives: the student's forward and its objectives, as one module."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.core.errors import SettingsError
from pipeline.models.probe import Probe
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import LossInputs, StudentOutputs
from pipeline.objectives.weighted_sum import WeightedSum
from pipeline.student.network_settings import STUDENTS
from pipeline.train.batches import Batch
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import autocast


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
        has_layers = student.config.model_type not in STUDENTS
        self._probe = Probe(student, sorted(needs.student), has_layers=has_layers)
        if settings.gradient_checkpointing:
            if not student.supports_gradient_checkpointing:
                raise SettingsError(
                    f"training.gradient_checkpointing: {type(student).__name__} does not have "
                    "it; set it to false"
                )
            student.activation_checkpointing_enable({"use_reentrant": False})
        if settings.compile:
            student.compile(dynamic=True)

    def forward(self, part: Batch, progress: float) -> Float[Tensor, " value"]:
        """Return the part's total loss, then each objective's term, on the student's device.

        `progress` is the share of the training's updates that was made, from 0 to 1. Terms of
        the parts of a batch add up to the batch's; those of a stand-in are 0.
        """
        with autocast(self._settings, part.labels.device):
            outputs = self.outputs(part)
        total, terms = self.objective(
            LossInputs(outputs, part.teacher(), part.labels, part.counts, progress)
        )
        values = torch.stack([total, *terms.values()])
        return values * 0 if part.is_stand_in else values

    def outputs(self, part: Batch) -> StudentOutputs:
        """Return what the student gives for a batch on its device."""
        forward = self._probe(part.inputs)
        return StudentOutputs(
            part.arrange(forward.logits), forward.masks, self._probe.take(forward)
        )
