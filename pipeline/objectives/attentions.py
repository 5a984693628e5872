"""Matching of attention maps over real tokens.

For a row of n tokens, H heads and maps A (head, query, key), with the mean over the
rows of the batch and the pairs of the layer map:

    mse: 1 / (H n^2) sum over heads, queries and keys of (A_s - A_t)^2
    kl:  1 / (H n)   sum over heads and queries of KL(A_t[query] || A_s[query])   (nats)

`mse` is Jiao et al. 2020 (TinyBERT), 1909.10351, equation 7, on probabilities instead
of scores; `kl` is Wang et al. 2020 (MiniLM), 2002.10957, equation 3. The student's
maps are those before dropout.
"""

from typing import Literal

import torch
from torch import Tensor

from pipeline.objectives.layer_map import LayerMap, LayerPair, resolve
from pipeline.objectives.objective import (
    Depths,
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.store.spec import ArraySpec

# A float16 store rounds probabilities below this to zero, and so must their logarithm.
SMALLEST_PROBABILITY = 2.0**-24


class AttentionsObjectiveSettings(ObjectiveSettings):
    """Settings of `attentions`."""

    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "kl"] = "mse"

    def needs(self, depths: Depths) -> Needs:
        """Return the mapped layers of either model."""
        pairs = resolve(self.layer_map, depths, lowest=1)
        return Needs(
            teacher=frozenset(ArraySpec("attentions", teacher) for _, teacher in pairs),
            student_attentions=frozenset(student for student, _ in pairs),
        )

    def build(self, depths: Depths) -> Objective:
        """Return the loss itself."""
        return AttentionMatch(resolve(self.layer_map, depths, lowest=1), self.distance)


class AttentionMatch(Objective):
    """Distance between attention maps of paired layers with equally many heads."""

    def __init__(self, pairs: list[LayerPair], distance: Literal["mse", "kl"]) -> None:
        super().__init__()
        self.pairs = pairs
        self.distance = distance

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows and pairs."""
        is_real = student.mask[:, None, :, None] & student.mask[:, None, None, :]
        n_heads = next(iter(student.attentions.values())).shape[1]
        selected = is_real.expand(-1, n_heads, -1, -1)
        row_shares = self._row_shares(student.mask, n_heads)
        losses = [
            (
                self._compare(student.attentions[ours][selected], teacher.attentions[theirs])
                * row_shares
            ).sum()
            for ours, theirs in self.pairs
        ]
        return torch.stack(losses).mean()

    def _compare(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return each element's part of the distance; both are flat, in the store's order."""
        if self.distance == "mse":
            return (ours.float() - theirs) ** 2
        logs = [torch.log(part.float().clamp(min=SMALLEST_PROBABILITY)) for part in (theirs, ours)]
        return theirs * (logs[0] - logs[1])

    def _row_shares(self, mask: Tensor, n_heads: int) -> Tensor:
        """Return for each element the factor that makes the sum a mean over rows."""
        n_tokens = mask.sum(1)
        n_terms = n_heads * (n_tokens**2 if self.distance == "mse" else n_tokens)
        return (1 / (len(mask) * n_terms)).repeat_interleave(n_heads * n_tokens**2)
