"""A student's forward, with what the objectives compare."""

import torch
from transformers import PreTrainedModel

from pipeline.attention import AttentionTap
from pipeline.objectives.objective import Needs, StudentOutputs
from pipeline.train.batches import Batch


class StudentForward:
    """Calls a student and collects logits, [CLS] states and attention maps."""

    def __init__(self, model: PreTrainedModel, needs: Needs) -> None:
        """Prepare `model` to give what `needs` names.

        Raises:
            CheckpointError: attention maps are needed and the model cannot give them.
        """
        self._model = model
        self._needs = needs
        layers = needs.student_attentions
        self._tap = AttentionTap(model, layers) if layers else None

    def __call__(self, batch: Batch) -> StudentOutputs:
        """Return the outputs for a batch on the model's device."""
        outputs = self._model(**batch.inputs, output_hidden_states=bool(self._needs.student_cls))
        return StudentOutputs(
            logits=outputs.logits,
            mask=batch.inputs["attention_mask"].to(torch.bool),
            cls={layer: outputs.hidden_states[layer][:, 0] for layer in self._needs.student_cls},
            attentions=self._tap.maps() if self._tap is not None else {},
        )
