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

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pipeline.objectives.models import Models
from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.own_weights import PairWeights, Projection
from pipeline.objectives.settings import StatesSettings


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
