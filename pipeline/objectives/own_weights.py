"""Weights that objectives have of their own: they are trained with the student, not saved with it.

Where a student's states and a teacher's have other widths, a learned linear map between them,

    h' = W h,   W (teacher hidden, student hidden), one for each student layer

(Jiao et al. 2020 (TinyBERT), 1909.10351, equation 8, with one W for all layers); and where the
layer map is learned, how much each of its pairs counts (`layer_map`).
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.objectives.layer_map import LayerPair
from pipeline.signals.models import Models


class Projection(nn.Module):
    """The maps of some student layers, or none of them: then states stay as they are."""

    def __init__(self, models: Models, layers: Iterable[int], *, is_learned: bool) -> None:
        super().__init__()
        widths = models.student.hidden_size, models.teacher.hidden_size
        self.maps = nn.ModuleDict(
            {str(layer): nn.Linear(*widths, bias=False) for layer in sorted(set(layers))}
            if is_learned
            else {}
        )

    def forward(
        self, states: Float[Tensor, "*batch student_hidden"], layer: int
    ) -> Float[Tensor, "*batch teacher_hidden"]:
        """Return the states of one student layer in the teacher's width, in float32."""
        own = states.float()
        if not self.maps:
            return own
        projected: Tensor = self.maps[str(layer)](own)
        return projected


class PairWeights(nn.Module):
    """How much each pair of a layer map counts: all the same, or as is learned."""

    def __init__(self, pairs: Sequence[LayerPair], *, is_learned: bool) -> None:
        super().__init__()
        self.n_taught = len({ours for ours, _ in pairs}) if is_learned else len(pairs)
        """What a sum over pairs has terms: student layers where the map is learned."""
        self.scores = (
            nn.Parameter(torch.zeros(self.n_taught, len(pairs) // self.n_taught))
            if is_learned
            else None
        )

    def mean(self, losses: Float[Tensor, " pair"]) -> Float[Tensor, ""]:
        """Return the mean of the pairs' losses, or over student layers the weighted one."""
        if self.scores is None:
            return losses.mean()
        return (self.scores.softmax(-1) * losses.view_as(self.scores)).sum(-1).mean()
