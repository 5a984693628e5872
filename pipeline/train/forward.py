"""A student's forward, with what the objectives compare."""

import torch
from transformers import PreTrainedModel

from pipeline.architecture import head_reads
from pipeline.attention import AttentionTap
from pipeline.cls import cls_state
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
        self._head_reads = head_reads(model.config)
        # Else a decoder keeps its keys and values for tokens to come.
        self._options = {"use_cache": False} if self._head_reads == "last" else {}

    def __call__(self, batch: Batch) -> StudentOutputs:
        """Return the outputs for a batch on the model's device."""
        outputs = self._model(
            **batch.inputs,
            output_hidden_states=bool(self._needs.student_cls),
            **self._options,
        )
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        pad_id = self._model.config.pad_token_id or 0
        return StudentOutputs(
            logits=outputs.logits,
            mask=mask.to(torch.bool),
            cls={
                layer: cls_state(outputs.hidden_states[layer], ids, mask, self._head_reads, pad_id)
                for layer in self._needs.student_cls
            },
            attentions=self._tap.maps() if self._tap is not None else {},
        )
