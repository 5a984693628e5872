"""Soft targets: the teacher's probabilities at a temperature.

With p = softmax(z_t / T), q = softmax(z_s / T), m = (p + q) / 2, and the mean over predictions of:

| distance | direction | loss | |
|---|---|---|---|
| `kl` | `forward` | T^2 KL(p, q) | nats |
| | `reverse` | T^2 KL(q, p) | nats |
| | `jensen_shannon` | T^2 (KL(p, m) + KL(q, m)) / 2 | nats |
| `l1` | | T sum over labels of abs(p - q) | |
| `l2` | | T^2 sum over labels of (p - q)^2 | |

`forward` is Hinton et al. 2015, 1503.02531, section 2: its gradients scale with 1/T^2, so
the factor keeps the term's share in the total as T changes, and so do the other rows'.
The published loss is the cross-entropy; it differs from the KL by the teacher's entropy,
which has no gradient. `reverse` is Gu et al. 2023 (MiniLLM), 2306.08543, equation 1.

Where word pieces are predicted, classes are the teacher's likeliest pieces and one for all
others (`tasks.pieces`): T is 1, unless the bias is accepted.

With other teachers p is the weighted average of all teachers' probabilities at T
(Hinton et al., section 5.3, the arithmetic mean of an ensemble).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from pipeline.objectives.linear import value_at
from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.settings import SoftTargetSettings
from pipeline.tasks.predictions import Targets


class SoftTarget(Objective):
    """Distance from the teachers' to the student's prediction at a temperature."""

    def __init__(self, settings: SoftTargetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.temperature = value_at(settings.temperature, 0.0)

    def begin_step(self, progress: float) -> None:
        """Take the temperature of this point of the training."""
        self.temperature = value_at(self.settings.temperature, progress)

    def forward(self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor) -> Tensor:
        """Return the mean over predictions; zero without one, as of rows without a word."""
        ours = log_softmax(teacher.classes_of(student) / self.temperature, dim=-1)
        theirs = self._teachers(teacher)
        if self.settings.distance == "l1":
            return self.temperature * _mean((ours.exp() - theirs.exp()).abs())
        if self.settings.distance == "l2":
            return self.temperature**2 * _mean((ours.exp() - theirs.exp()).square())
        return self.temperature**2 * self._divergence(ours, theirs)

    def count_targets(self, targets: Targets) -> int:
        """Return the number of predictions."""
        return len(targets.labels)

    def _divergence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return the KL divergence in the direction asked for, from log-probabilities."""
        if self.settings.direction == "forward":
            return _kl(theirs, ours)
        if self.settings.direction == "reverse":
            return _kl(ours, theirs)
        middle = torch.logaddexp(ours, theirs) - math.log(2)
        return (_kl(theirs, middle) + _kl(ours, middle)) / 2

    def _teachers(self, teacher: TeacherSignals) -> Float[Tensor, "batch label"]:
        """Return the logarithm of the teachers' average probabilities."""
        assert teacher.logits is not None
        own = log_softmax(teacher.logits / self.temperature, dim=-1)
        shares = self.settings.other_teachers
        if not shares:
            return own
        terms = [own + math.log(1 - sum(shares.values()))]
        for store, share in shares.items():
            other = log_softmax(teacher.other_logits[store] / self.temperature, dim=-1)
            terms.append(other + math.log(share))
        return torch.stack(terms).logsumexp(0)


def _kl(of: Float[Tensor, "batch label"], to: Float[Tensor, "batch label"]) -> Float[Tensor, ""]:
    """Return KL(of, to) in nats, the mean over rows, from log-probabilities."""
    return _mean(kl_div(to, of, reduction="none", log_target=True))


def _mean(distances: Float[Tensor, "batch label"]) -> Float[Tensor, ""]:
    """Return the mean over rows of the sum over labels."""
    return distances.sum() / max(1, len(distances))
