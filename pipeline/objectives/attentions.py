"""Matching of attention maps over real tokens.

For a row of n tokens, H heads and maps A (head, query, key), with the mean over the
rows of the batch and the pairs of the layer map:

    mse: 1 / (H n^2) sum over heads, queries and keys of (A_s - A_t)^2
    kl:  1 / (H n)   sum over heads and queries of KL(A_t[query] || A_s[query])   (nats)

`mse` is Jiao et al. 2020 (TinyBERT), 1909.10351, equation 7, on probabilities instead
of scores; `kl` is Wang et al. 2020 (MiniLM), 2002.10957, section 3.1. The student's
maps are those before dropout. With `heads: mean` both models' maps are averaged over
their heads first (H = 1), for models with other numbers of heads.

A student that pools its tokens by attention (BiLSTM) has one row of weights instead of
maps; it is compared with the row of the teacher's [CLS], the first token, averaged over
the heads (one query: n and 1 in the place of n^2 and n).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import SettingsError
from pipeline.objectives.layer_map import LayerMap, LayerPair, PairWeights, resolve
from pipeline.objectives.models import Models
from pipeline.objectives.objective import (
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.store.spec import ArraySpec, Heads

Distance = Literal["mse", "kl"]

# A float16 store rounds probabilities below this to zero, and so must their logarithm.
SMALLEST_PROBABILITY = 2.0**-24


class AttentionsObjectiveSettings(ObjectiveSettings):
    """Settings of `attentions`."""

    layer_map: LayerMap = "uniform"
    distance: Distance = "mse"
    heads: Heads = "all"
    """`mean` compares maps averaged over heads; the store's own such maps where it has them."""

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model.

        Raises:
            SettingsError: also where the models differ in their heads.
        """
        pools = "pooling" in models.student.gives
        models.require("pooling" if pools else "attentions")
        self._check_heads(models)
        pairs = self.pairs(models)
        return Needs(
            teacher=frozenset(self.array(models, theirs) for _, theirs in pairs),
            student_attentions=frozenset() if pools else frozenset(ours for ours, _ in pairs),
            student_pooling=pools,
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        captured = {array.layer for array in models.captured if array.signal == "attentions"}
        return resolve(self.layer_map, models, lowest=1, captured=sorted(captured))

    def array(self, models: Models, layer: int) -> ArraySpec:
        """Return the array of the store that has this layer's maps."""
        mean = ArraySpec("attentions", layer, "mean")
        averages = self.heads == "mean" or "pooling" in models.student.gives
        return mean if averages and mean in models.captured else ArraySpec("attentions", layer)

    def build(self, models: Models) -> Objective:
        """Return the loss itself."""
        return AttentionMatch(self, models)

    def _check_heads(self, models: Models) -> None:
        ours, theirs = models.student.n_heads, models.teacher.n_heads
        if "attentions" in models.student.gives and self.heads == "all" and ours != theirs:
            raise SettingsError(
                [
                    f"compares maps of {ours} heads (student) with maps of {theirs} (teacher). "
                    "Set heads: mean"
                ]
            )
        if "pooling" in models.student.gives and models.teacher.head_reads != "first":
            raise SettingsError(
                [
                    "compares the student's attention pooling with the row of the teacher's first "
                    f"token, but the teacher's head reads the {models.teacher.head_reads} token. "
                    "Take this objective out"
                ]
            )


class AttentionMatch(Objective):
    """Distance between attention maps of paired layers."""

    def __init__(self, settings: AttentionsObjectiveSettings, models: Models) -> None:
        super().__init__()
        self.pairs = settings.pairs(models)
        self.distance = settings.distance
        self.pools = "pooling" in models.student.gives
        self.averages = settings.heads == "mean" or self.pools
        self.n_heads = models.teacher.n_heads
        self.weights = PairWeights(self.pairs, is_learned=settings.layer_map == "learned")

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over rows and pairs."""
        shares = self._shares(student.mask)
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
        maps = student.attentions[layer].float()
        if self.averages:
            maps = maps.mean(1, keepdim=True)
        is_real = student.mask[:, None, :, None] & student.mask[:, None, None, :]
        return maps[is_real.expand(-1, maps.shape[1], -1, -1)]

    def _teacher_maps(
        self, student: StudentOutputs, teacher: TeacherSignals, layer: int
    ) -> Float[Tensor, " element"]:
        """Return what is compared of the teacher, flat, in the store's order."""
        if not self.averages:
            return teacher.attentions[layer]
        n_tokens = student.mask.sum(1)
        if layer in teacher.mean_attentions:
            maps = teacher.mean_attentions[layer]
        else:
            maps = _mean_over_heads(teacher.attentions[layer], n_tokens, self.n_heads)
        if not self.pools:
            return maps
        starts = (n_tokens**2).cumsum(0) - n_tokens**2
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

    def _shares(self, mask: Tensor) -> Float[Tensor, " element"]:
        """Return for each element the factor that makes the sum a mean over rows."""
        n_tokens = mask.sum(1)
        n_queries = torch.ones_like(n_tokens) if self.pools else n_tokens
        n_maps = n_queries * (1 if self.averages else self.n_heads)
        n_terms = n_maps * (n_tokens if self.distance == "mse" else 1)
        return (1 / (len(mask) * n_terms)).repeat_interleave(n_maps * n_tokens)


def _mean_over_heads(
    maps: Float[Tensor, " element"], n_tokens: Tensor, n_heads: int
) -> Float[Tensor, " mean_element"]:
    """Return flat maps (row, head, query, key) averaged over heads: (row, query, key)."""
    sizes = n_tokens**2
    starts = sizes.cumsum(0) - sizes
    within = torch.arange(int(sizes.sum()), device=maps.device)
    # In front of a row's first map stand all heads of the rows before it.
    first = within + ((n_heads - 1) * starts).repeat_interleave(sizes)
    steps = sizes.repeat_interleave(sizes)
    total = torch.zeros_like(maps[first])
    for head in range(n_heads):
        total = total + maps[first + head * steps]
    return total / n_heads
