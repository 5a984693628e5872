"""Matching of attention maps over real tokens.

For a row of n queries and m keys, H heads and maps A (head, query, key), with the mean
over the rows of the batch and the pairs of the layer map:

    mse: 1 / (H n m) sum over heads, queries and keys of (A_s - A_t)^2
    kl:  1 / (H n)   sum over heads and queries of KL(A_t[query] || A_s[query])   (nats)

Queries and keys are a row's tokens (n = m); of `decoder_attentions`, those that a decoder
beside the encoder is given, where a query has no weight at later keys; and of
`cross_attentions`, queries are the decoder's tokens and keys the encoder's.

`mse` is Jiao et al. 2020 (TinyBERT), 1909.10351, equation 7, on probabilities instead
of scores; `kl` is Wang et al. 2020 (MiniLM), 2002.10957, section 3.1. The student's
maps are those before dropout. With `heads: mean` both models' maps are averaged over
their heads first (H = 1), for models with other numbers of heads.

A student that pools its tokens by attention (BiLSTM) has one row of weights instead of
maps; it is compared with the row of the teacher's [CLS], the first token, averaged over
the heads (one query: n = 1).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.objectives.models import Models
from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.own_weights import PairWeights
from pipeline.objectives.settings import MapsSettings

# A float16 store rounds probabilities below this to zero, and so must their logarithm.
SMALLEST_PROBABILITY = 2.0**-24


class AttentionMatch(Objective):
    """Distance between attention maps of paired layers."""

    def __init__(self, settings: MapsSettings, models: Models) -> None:
        super().__init__()
        self.signal = settings.signal
        self.pairs = settings.pairs(models)
        self.distance = settings.distance
        self.pools = settings.pools(models)
        self.averages = settings.heads == "mean" or self.pools
        self.n_heads = models.teacher.n_heads
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows and pairs."""
        shares = self._shares(student)
        losses = [
            (
                self._compare(
                    self._student_maps(student, ours), self._teacher_maps(student, teacher, theirs)
                )
                * shares
            ).sum()
            for ours, theirs in self.pairs
        ]
        return self.weights.mean(torch.stack(losses))

    def _student_maps(self, student: StudentOutputs, layer: int) -> Float[Tensor, " element"]:
        """Return what is compared of the student, flat, in the store's order."""
        if self.pools:
            assert student.pooling is not None
            return student.pooling[student.mask].float()
        maps = student.maps(self.signal)[layer].float()
        if self.averages:
            maps = maps.mean(1, keepdim=True)
        queries, keys = student.real(self.signal), student.real_keys(self.signal)
        is_real = queries[:, None, :, None] & keys[:, None, None, :]
        return maps[is_real.expand(-1, maps.shape[1], -1, -1)]

    def _teacher_maps(
        self, student: StudentOutputs, teacher: TeacherSignals, layer: int
    ) -> Float[Tensor, " element"]:
        """Return what is compared of the teacher, flat, in the store's order."""
        if not self.averages:
            return teacher.maps(self.signal)[layer]
        n_tokens = student.real_keys(self.signal).sum(1)
        sizes = student.real(self.signal).sum(1) * n_tokens
        if layer in teacher.mean_maps(self.signal):
            maps = teacher.mean_maps(self.signal)[layer]
        else:
            maps = _mean_over_heads(teacher.maps(self.signal)[layer], sizes, self.n_heads)
        if not self.pools:
            return maps
        starts = sizes.cumsum(0) - sizes
        row_ends = n_tokens.cumsum(0)
        within = torch.arange(int(n_tokens.sum()), device=maps.device)
        return maps[within + (starts - (row_ends - n_tokens)).repeat_interleave(n_tokens)]

    def _compare(
        self, ours: Float[Tensor, " element"], theirs: Float[Tensor, " element"]
    ) -> Float[Tensor, " element"]:
        """Return each element's part of the distance."""
        if self.distance == "mse":
            return (ours - theirs) ** 2
        logs = [torch.log(part.clamp(min=SMALLEST_PROBABILITY)) for part in (theirs, ours)]
        return theirs * (logs[0] - logs[1])

    def _shares(self, student: StudentOutputs) -> Float[Tensor, " element"]:
        """Return for each element the factor that makes the sum a mean over rows."""
        n_keys = student.real_keys(self.signal).sum(1)
        n_queries = torch.ones_like(n_keys) if self.pools else student.real(self.signal).sum(1)
        n_maps = n_queries * (1 if self.averages else self.n_heads)
        n_terms = n_maps * (n_keys if self.distance == "mse" else 1)
        return (1 / (len(n_keys) * n_terms)).repeat_interleave(n_maps * n_keys)


def _mean_over_heads(
    maps: Float[Tensor, " element"], sizes: Int[Tensor, " row"], n_heads: int
) -> Float[Tensor, " mean_element"]:
    """Return flat maps (row, head, query, key) averaged over heads: (row, query, key).

    `sizes` are the queries times the keys of each row.
    """
    starts = sizes.cumsum(0) - sizes
    within = torch.arange(int(sizes.sum()), device=maps.device)
    # In front of a row's first map stand all heads of the rows before it.
    first = within + ((n_heads - 1) * starts).repeat_interleave(sizes)
    steps = sizes.repeat_interleave(sizes)
    total = torch.zeros_like(maps[first])
    for head in range(n_heads):
        total = total + maps[first + head * steps]
    return total / n_heads
