"""Matching of the hidden states of all real tokens, of an encoder or a decoder beside it.

With the states h of a token and d their width, over the pairs of the layer map, and the
mean over rows of the mean over a row's tokens of:

    mse:    ||W h_s - h_t||^2 / d
    cosine: 1 - cos(W h_s, h_t)

W is a learned matrix for each student layer with `projection`, else the identity. `mse` is
Jiao et al. 2020 (TinyBERT), 1909.10351, equation 8; `cosine` is Sanh et al. 2019
(DistilBERT), 1910.01108, section 2, whose code takes the mean over all tokens of the batch.
A mean over rows first makes every row count the same, however long it is and however the
batch is cut.
"""

from abc import ABC
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pipeline.objectives.layer_map import LayerMap, LayerPair, PairWeights, resolve
from pipeline.objectives.models import Models
from pipeline.objectives.objective import (
    Needs,
    Objective,
    ObjectiveSettings,
    StateSignal,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.objectives.projection import Projection
from pipeline.store.spec import ArraySpec


class StatesSettings(ObjectiveSettings, ABC):
    """Settings of what compares states of tokens."""

    signal: ClassVar[StateSignal]
    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "cosine"] = "mse"
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model."""
        models.require(self.signal)
        models.require_equal_width(has_projection=self.projection)
        pairs = self.pairs(models)
        teacher = frozenset(ArraySpec(self.signal, theirs) for _, theirs in pairs)
        student = frozenset(ours for ours, _ in pairs)
        if self.signal == "hidden_states":
            return Needs(teacher=teacher, student_hidden_states=student)
        return Needs(teacher=teacher, student_decoder_hidden_states=student)

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        captured = [array.layer for array in models.captured if array.signal == self.signal]
        return resolve(
            self.layer_map,
            models,
            lowest=0,
            captured=sorted(captured),
            is_of_decoder=self.signal != "hidden_states",
        )

    def build(self, models: Models) -> Objective:
        """Return the loss itself."""
        return HiddenStateMatch(self, models)


class HiddenStatesObjectiveSettings(StatesSettings):
    """Settings of `hidden_states`."""

    signal = "hidden_states"


class DecoderHiddenStatesSettings(StatesSettings):
    """Settings of `decoder_hidden_states`: a row's tokens are those that its decoder is given."""

    signal = "decoder_hidden_states"


class HiddenStateMatch(Objective):
    """Distance between the token states of paired layers."""

    def __init__(self, settings: StatesSettings, models: Models) -> None:
        super().__init__()
        self.signal = settings.signal
        self.pairs = settings.pairs(models)
        self.distance = settings.distance
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")
        layers = (ours for ours, _ in self.pairs)
        self.projection = Projection(models, layers, is_learned=settings.projection)

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows of the mean over their tokens."""
        is_real = student.real(self.signal)
        n_tokens = is_real.sum(1)
        # Each token's part of a mean over rows.
        shares = (1 / (len(is_real) * n_tokens)).repeat_interleave(n_tokens)
        states = student.states(self.signal)
        losses = [
            (self._compare(states[ours][is_real], ours, teacher, theirs) * shares).sum()
            for ours, theirs in self.pairs
        ]
        return self.weights.mean(torch.stack(losses))

    def _compare(
        self, tokens: Float[Tensor, "token hidden"], ours: int, teacher: TeacherSignals, theirs: int
    ) -> Float[Tensor, " token"]:
        """Return the distance of each real token, in the store's order."""
        student_states: Tensor = self.projection(tokens, ours)
        teacher_states = teacher.states(self.signal)[theirs]
        if self.distance == "mse":
            return (student_states - teacher_states).square().mean(-1)
        return 1 - cosine_similarity(student_states, teacher_states, dim=-1)
