"""Adversarial transfer: the student's [CLS] states learn to pass for the teacher's.

For each pair of the layer map a discriminator D, a perceptron of one hidden layer, sees
a [CLS] state h, the teacher's logits z_t and the true label y (all zeros where a row has
none), and tells teacher from student:

    L = mean over rows and pairs of (-log D(h_t, z_t, y) - log(1 - D(h_s, z_t, y))) / 2   (nats)

The discriminators minimise L and the student maximises it, in one backward pass: the
gradient changes its sign on its way from the discriminator to h_s (Ganin & Lempitsky
2015, 1409.7495, equation 8). Conditions as in Mirza & Osindero 2014, 1411.1784, equation
2. L is log 2 = 0.693 where nobody can tell the two apart.

The discriminators are trained by the student's optimizer and are not in its checkpoint.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from pipeline.objectives.objective import LossInputs, Objective
from pipeline.objectives.own_weights import Projection
from pipeline.objectives.settings import AdversarialSettings
from pipeline.signals.cls import CLS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array


class Adversarial(Objective):
    """The discriminators' loss, which the student works against."""

    def __init__(self, settings: AdversarialSettings, models: Models) -> None:
        super().__init__()
        self.pairs = settings.pairs(models)
        self.n_labels = models.teacher.n_labels
        layers = (ours for ours, _ in self.pairs)
        self.projection = Projection(models, layers, is_learned=settings.projection)
        n_inputs = models.teacher.hidden_size + 2 * self.n_labels
        self.discriminators = nn.ModuleList(
            nn.Sequential(
                nn.Linear(n_inputs, settings.hidden_size),
                nn.LeakyReLU(0.2),
                nn.Linear(settings.hidden_size, 1),
            )
            for _ in self.pairs
        )

    def forward(self, batch: LossInputs) -> Tensor:
        """Return the mean over rows and pairs; its gradient by the student is reversed."""
        teacher, labels = batch.teacher, batch.labels
        assert teacher.logits is not None
        known = one_hot(labels.clamp(min=0), self.n_labels) * (labels >= 0)[:, None]
        condition = torch.cat([teacher.logits, known.float()], -1)
        losses = []
        for (ours, theirs), discriminator in zip(self.pairs, self.discriminators, strict=True):
            states = _reverse(self.projection(batch.student.signals[Array(CLS, ours)], ours))
            is_teacher = discriminator(
                torch.cat([teacher.signals[Array(CLS, theirs)], condition], -1)
            )
            is_student = discriminator(torch.cat([states, condition], -1))
            total = (softplus(-is_teacher) + softplus(is_student)).sum()
            losses.append(total / batch.counts.n_rows / 2)
        return torch.stack(losses).mean()


def _reverse(states: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
    """Return the same states, whose gradient will have the other sign."""
    reversed_: Tensor = _Reversed.apply(states)  # type: ignore[no-untyped-call]
    return reversed_


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient has the other sign."""

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "batch hidden"]) -> Tensor:
        return -gradient
