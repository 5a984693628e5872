"""A student's forward, with what the objectives compare."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import Seq2SeqLMOutput

from pipeline.models.architecture import head_reads
from pipeline.models.attention import AttentionTap
from pipeline.models.cls import cls_state
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import StudentOutputs
from pipeline.student.network_settings import STUDENTS
from pipeline.train.batches import Batch

StudentForward = Callable[[Batch], StudentOutputs]
"""Gives a student's outputs for a batch that is on its device."""


def make_forward(model: PreTrainedModel, needs: Needs) -> StudentForward:
    """Prepare `model` to give what `needs` names.

    Raises:
        CheckpointError: attention maps are needed and the model cannot give them.
    """
    if model.config.model_type in STUDENTS:
        return NetworkForward(model, needs)
    return TransformerForward(model, needs)


class TransformerForward:
    """Calls a Transformer and collects the states and attention maps of its layers."""

    def __init__(self, model: PreTrainedModel, needs: Needs) -> None:
        self._model = model
        self._needs = needs
        layers = needs.student_attentions
        decoder, cross = needs.student_decoder_attentions, needs.student_cross_attentions
        self._tap = (
            AttentionTap(model, layers, decoder_layers=decoder, cross_layers=cross)
            if layers or decoder or cross
            else None
        )
        self._head_reads = head_reads(model.config)
        self._options: dict[str, Any] = {
            "output_hidden_states": bool(
                needs.student_cls
                | needs.student_hidden_states
                | needs.student_decoder_hidden_states
            )
        }
        self._has_encoder = bool(model.config.is_encoder_decoder)
        if self._has_encoder or self._head_reads == "last":
            self._options["use_cache"] = False  # of keys and values, for tokens to come

    def __call__(self, batch: Batch) -> StudentOutputs:
        """Return the outputs for a batch on the model's device."""
        outputs = self._model(**batch.inputs, **self._options)
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        if self._has_encoder:
            return self._of_both(outputs, batch)
        pad_id = self._model.config.pad_token_id or 0

        def cls_of(states: Tensor) -> Tensor:
            assert self._head_reads is not None, "objectives of [CLS] refuse such a model"
            return cls_state(states, ids, mask, self._head_reads, pad_id)

        states = outputs.hidden_states
        return StudentOutputs(
            logits=batch.arrange(outputs.logits),
            mask=mask.to(torch.bool),
            cls={layer: cls_of(states[layer]) for layer in self._needs.student_cls},
            hidden_states={layer: states[layer] for layer in self._needs.student_hidden_states},
            attentions=self._tap.maps() if self._tap is not None else {},
        )

    def _of_both(self, outputs: Seq2SeqLMOutput, batch: Batch) -> StudentOutputs:
        """Return the outputs of an encoder and the decoder beside it."""
        needs, tap = self._needs, self._tap
        own, decoder = outputs.encoder_hidden_states or (), outputs.decoder_hidden_states or ()
        assert outputs.logits is not None
        return StudentOutputs(
            logits=batch.arrange(outputs.logits),
            mask=batch.inputs["attention_mask"].to(torch.bool),
            hidden_states={layer: own[layer] for layer in needs.student_hidden_states},
            attentions=tap.maps() if tap is not None else {},
            decoder_mask=batch.inputs["is_target"].to(torch.bool),
            decoder_hidden_states={
                layer: decoder[layer] for layer in needs.student_decoder_hidden_states
            },
            decoder_attentions=tap.maps("decoder") if tap is not None else {},
            cross_attentions=tap.maps("cross") if tap is not None else {},
        )


class NetworkForward:
    """Calls one of STUDENTS, whose only layer is the one that its head reads."""

    def __init__(self, model: PreTrainedModel, needs: Needs) -> None:
        self._model = model
        self._needs = needs

    def __call__(self, batch: Batch) -> StudentOutputs:
        """Return the outputs for a batch on the model's device."""
        outputs = self._model(**batch.inputs)
        return StudentOutputs(
            logits=batch.arrange(outputs.logits),
            mask=batch.inputs["attention_mask"].to(torch.bool),
            cls=dict.fromkeys(self._needs.student_cls, outputs.pooler_output),
            pooling=outputs.attentions if self._needs.student_pooling else None,
        )
