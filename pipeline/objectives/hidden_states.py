"""Matching of the hidden states of all real tokens.

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

from typing import Literal

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
    StudentOutputs,
    TeacherSignals,
)
from pipeline.objectives.projection import Projection
from pipeline.store.spec import ArraySpec


class HiddenStatesObjectiveSettings(ObjectiveSettings):
    """Settings of `hidden_states`."""

    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "cosine"] = "mse"
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model."""
        models.require("hidden_states")
        models.require_equal_width(has_projection=self.projection)
        pairs = self.pairs(models)
        return Needs(
            teacher=frozenset(ArraySpec("hidden_states", teacher) for _, teacher in pairs),
            student_hidden_states=frozenset(student for student, _ in pairs),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        captured = [array.layer for array in models.captured if array.signal == "hidden_states"]
        return resolve(self.layer_map, models, lowest=0, captured=sorted(captured))

    def build(self, models: Models) -> Objective:
        """Return the loss itself."""
        return HiddenStateMatch(self, models)


class HiddenStateMatch(Objective):
    """Distance between the token states of paired layers."""

    def __init__(self, settings: HiddenStatesObjectiveSettings, models: Models) -> None:
        super().__init__()
        self.pairs = settings.pairs(models)
        self.distance = settings.distance
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")
        layers = (ours for ours, _ in self.pairs)
        self.projection = Projection(models, layers, is_learned=settings.projection)

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows of the mean over their tokens."""
        n_tokens = student.mask.sum(1)
        # Each token's part of a mean over rows.
        shares = (1 / (len(student.mask) * n_tokens)).repeat_interleave(n_tokens)
        losses = [
            (
                self._compare(student.hidden_states[ours][student.mask], ours, teacher, theirs)
                * shares
            ).sum()
            for ours, theirs in self.pairs
        ]
        return self.weights.mean(torch.stack(losses))

    def _compare(
        self, tokens: Float[Tensor, "token hidden"], ours: int, teacher: TeacherSignals, theirs: int
    ) -> Float[Tensor, " token"]:
        """Return the distance of each real token, in the store's order."""
        student_states: Tensor = self.projection(tokens, ours)
        teacher_states = teacher.hidden_states[theirs]
        if self.distance == "mse":
            return (student_states - teacher_states).square().mean(-1)
        return 1 - cosine_similarity(student_states, teacher_states, dim=-1)
