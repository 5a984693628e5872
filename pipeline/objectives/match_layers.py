"""Matching of one signal of paired layers: [CLS] states, token states, or attention maps.

What is real of the student's padded signal is put into the store's layout, row after row, and
compared there with the teacher's, over the pairs of the layer map. Losses are means over the rows
of the batch, so every row counts the same, however long it is and however the batch is cut.

`cls`: [CLS] states of intermediate layers (Patient KD). With h' = h / ||h|| for `normalise: l2`,
h / s_t for `standardise` (s_t: the standard deviation of each number of the teacher's [CLS] over
the rows of its store) and h for `none`, over the pairs of the layer map:

    mean: L = mean over rows, pairs and dimensions of (h'_s - h'_t)^2
    sum:  L = mean over rows of the sum over pairs of ||h'_s - h'_t||^2

Sun et al. 2019, 1908.09355, equation 7 is `sum` with `l2` (summed over the rows as well); the
authors' public code computes `mean`. They differ by pairs x width.

`hidden_states`, `decoder_hidden_states`: states h of all real tokens, of width d; the mean over
rows and pairs of the mean over a row's tokens of:

    mse:    ||W h_s - h_t||^2 / d
    cosine: 1 - cos(W h_s, h_t)

`mse` is Jiao et al. 2020 (TinyBERT), 1909.10351, equation 8; `cosine` is Sanh et al. 2019
(DistilBERT), 1910.01108, section 2, whose code takes the mean over all tokens of the batch.

W is a learned matrix for each student layer with `projection`, else the identity; [CLS] states
are multiplied by it before they are normalised.

`attentions`, `decoder_attentions`, `cross_attentions`: attention maps A (head, query, key) over
real tokens. For a row of n queries and m keys and H heads, with the mean over rows and pairs:

    mse: 1 / (H n m) sum over heads, queries and keys of (A_s - A_t)^2
    kl:  1 / (H n)   sum over heads and queries of KL(A_t[query] || A_s[query])   (nats)

Queries and keys are a row's tokens (n = m); of `decoder_attentions`, those that a decoder beside
the encoder is given, where a query has no weight at later keys; and of `cross_attentions`, queries
are the decoder's tokens and keys the encoder's. `mse` is Jiao et al. 2020 (TinyBERT), equation 7,
on probabilities instead of scores; `kl` is Wang et al. 2020 (MiniLM), 2002.10957, section 3.1. The
student's maps are those before dropout. With `heads: mean` both models' maps are averaged over
their heads first (H = 1), for models with other numbers of heads.

A student that pools its tokens by attention (BiLSTM) has one row of weights instead of maps; it is
compared with the row of the teacher's [CLS], the first token, averaged over the heads (one query:
n = 1).
"""

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from pipeline.objectives.objective import LossInputs, Objective
from pipeline.objectives.own_weights import PairWeights, Projection
from pipeline.objectives.settings import (
    ClsObjectiveSettings,
    MapsSettings,
    MatchSettings,
    StatesSettings,
    TokenStatesSettings,
)
from pipeline.signals.attentions import POOLING
from pipeline.signals.cls import MOMENTS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array

SMALLEST_SHARE = 1e-3
"""Numbers of [CLS] that hardly change count as if they had this share of the layer's mean
deviation: rounding of the store would be large in units of theirs."""
SMALLEST_PROBABILITY = 2.0**-24
"""A float16 store rounds probabilities below this to zero, and so must their logarithm."""


class MatchLayers(Objective):
    """Distance between a signal's values in paired layers."""

    def __init__(self, settings: MatchSettings, models: Models) -> None:
        super().__init__()
        self.signal = settings.signal
        self.pairs = settings.pairs(models)
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")

    def forward(self, batch: LossInputs) -> Float[Tensor, ""]:
        """Return the mean over rows and pairs."""
        losses = [self.compare(batch, ours, theirs) for ours, theirs in self.pairs]
        return self.weights.mean(torch.stack(losses))

    @abstractmethod
    def compare(self, batch: LossInputs, ours: int, theirs: int) -> Float[Tensor, ""]:
        """Return the mean over rows of the distance between two layers."""

    def row_means(
        self,
        batch: LossInputs,
        distances: Float[Tensor, " element"],
        n_elements: Int[Tensor, " row"],
        n_terms: Int[Tensor, " row"],
    ) -> Float[Tensor, ""]:
        """Return the mean over rows of the sums of their elements over `n_terms`."""
        shares = (1 / (batch.counts.n_rows * n_terms)).repeat_interleave(n_elements)
        return (distances * shares).sum()


class MatchStates(MatchLayers):
    """Mean squared or cosine distance between token states."""

    def __init__(self, settings: TokenStatesSettings, models: Models) -> None:
        super().__init__(settings, models)
        self.distance = settings.distance
        self.projection = _projection(settings, models)

    def compare(self, batch: LossInputs, ours: int, theirs: int) -> Float[Tensor, ""]:
        """Return the mean over rows of the mean over their tokens."""
        is_real = batch.student.masks[self.signal.axis.sides[0]]
        states = batch.student.signals[Array(self.signal, ours)][is_real]
        own = self.projection(states, ours)
        other = batch.teacher.signals[Array(self.signal, theirs)]
        if self.distance == "mse":
            distances = (own - other).square().mean(-1)
        else:
            distances = 1 - cosine_similarity(own, other, dim=-1)
        n_tokens = is_real.sum(1)
        return self.row_means(batch, distances, n_tokens, n_tokens)


class MatchCls(MatchLayers):
    """Squared distance between [CLS] states: a squared length, or cosine distance under `l2`."""

    def __init__(self, settings: ClsObjectiveSettings, models: Models) -> None:
        super().__init__(settings, models)
        self.normalise = settings.normalise
        self.projection = _projection(settings, models)
        self.reduction = settings.reduction
        self.width = models.teacher.hidden_size

    def forward(self, batch: LossInputs) -> Float[Tensor, ""]:
        """Return the mean over rows of the sum over pairs, or the mean over pairs and width."""
        mean = super().forward(batch)
        return mean * self.weights.n_taught if self.reduction == "sum" else mean / self.width

    def compare(self, batch: LossInputs, ours: int, theirs: int) -> Float[Tensor, ""]:
        """Return the mean over rows of the squared distance."""
        own = self.projection(batch.student.signals[Array(self.signal, ours)], ours)
        other = batch.teacher.signals[Array(self.signal, theirs)]
        if self.normalise == "l2":
            own, other = normalize(own, dim=-1), normalize(other, dim=-1)
        elif self.normalise == "standardise":
            _, deviations = batch.teacher.signals[MOMENTS]
            deviation = deviations[theirs]
            deviation = deviation.clamp(min=SMALLEST_SHARE * float(deviation.mean()) or 1.0)
            own, other = own / deviation, other / deviation
        distances: Float[Tensor, " row"] = (own - other).square().sum(-1)
        return distances.sum() / batch.counts.n_rows


class MatchMaps(MatchLayers):
    """Mean squared distance or KL divergence between attention maps."""

    def __init__(self, settings: MapsSettings, models: Models) -> None:
        super().__init__(settings, models)
        self.distance = settings.distance
        self.pools = settings.pools(models)
        self.averages = settings.heads == "mean" or self.pools
        self.n_heads = models.teacher.n_heads

    def compare(self, batch: LossInputs, ours: int, theirs: int) -> Float[Tensor, ""]:
        """Return the mean over rows of the distance of their maps."""
        own, other = self._student(batch, ours), self._teacher(batch, theirs)
        if self.distance == "mse":
            distances = (own - other) ** 2
        else:
            logs = [torch.log(part.clamp(min=SMALLEST_PROBABILITY)) for part in (other, own)]
            distances = other * (logs[0] - logs[1])
        n_queries, n_keys = (batch.student.masks[side].sum(1) for side in self.signal.axis.sides)
        n_compared = torch.ones_like(n_keys) if self.pools else n_queries
        n_compared = n_compared * (1 if self.averages else self.n_heads)
        n_terms = n_compared * (n_keys if self.distance == "mse" else 1)
        return self.row_means(batch, distances, n_compared * n_keys, n_terms)

    def _student(self, batch: LossInputs, layer: int) -> Float[Tensor, " element"]:
        """Return what is compared of the student, flat, in the store's order."""
        student = batch.student
        if self.pools:
            return student.signals[Array(POOLING)][student.masks["token"]].float()
        maps = student.signals[Array(self.signal, layer)].float()
        if self.averages:
            maps = maps.mean(1, keepdim=True)
        queries, keys = (student.masks[side] for side in self.signal.axis.sides)
        is_real = queries[:, None, :, None] & keys[:, None, None, :]
        return maps[is_real.expand(-1, maps.shape[1], -1, -1)]

    def _teacher(self, batch: LossInputs, layer: int) -> Float[Tensor, " element"]:
        """Return what is compared of the teacher, flat, in the store's order."""
        signals = batch.teacher.signals
        if not self.averages:
            return signals[Array(self.signal, layer)]
        n_queries, n_keys = (batch.student.masks[side].sum(1) for side in self.signal.axis.sides)
        sizes = n_queries * n_keys
        maps = signals.get(Array(self.signal, layer, "mean"))
        if maps is None:
            maps = _mean_over_heads(signals[Array(self.signal, layer)], sizes, self.n_heads)
        if not self.pools:
            return maps
        starts = sizes.cumsum(0) - sizes
        row_ends = n_keys.cumsum(0)
        within = torch.arange(int(n_keys.sum()), device=maps.device)
        return maps[within + (starts - (row_ends - n_keys)).repeat_interleave(n_keys)]


def _projection(settings: StatesSettings, models: Models) -> Projection:
    layers = (ours for ours, _ in settings.pairs(models))
    return Projection(models, layers, is_learned=settings.projection)


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
