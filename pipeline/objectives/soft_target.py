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
from pipeline.objectives.objective import LossInputs, Objective, TeacherSignals
from pipeline.objectives.settings import SoftTargetSettings


class SoftTarget(Objective):
    """Distance from the teachers' to the student's prediction at a temperature."""

    def __init__(self, settings: SoftTargetSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, batch: LossInputs) -> Tensor:
        """Return the mean over predictions; zero without one, as of rows without a word."""
        temperature = value_at(self.settings.temperature, batch.progress)
        ours = log_softmax(batch.teacher.classes_of(batch.student) / temperature, dim=-1)
        theirs = self._teachers(batch.teacher, temperature)

        def mean(distances: Float[Tensor, "prediction class"]) -> Float[Tensor, ""]:
            return distances.sum() / max(1, batch.counts.n_predictions)

        def kl(of: Tensor, to: Tensor) -> Tensor:
            """Return KL(of, to) in nats, the mean over predictions, from log-probabilities."""
            return mean(kl_div(to, of, reduction="none", log_target=True))

        if self.settings.distance == "l1":
            return temperature * mean((ours.exp() - theirs.exp()).abs())
        if self.settings.distance == "l2":
            return temperature**2 * mean((ours.exp() - theirs.exp()).square())
        if self.settings.direction == "forward":
            return temperature**2 * kl(theirs, ours)
        if self.settings.direction == "reverse":
            return temperature**2 * kl(ours, theirs)
        middle = torch.logaddexp(ours, theirs) - math.log(2)
        return temperature**2 * ((kl(theirs, middle) + kl(ours, middle)) / 2)

    def _teachers(
        self, teacher: TeacherSignals, temperature: float
    ) -> Float[Tensor, "batch label"]:
        """Return the logarithm of the teachers' average probabilities."""
        assert teacher.logits is not None
        own = log_softmax(teacher.logits / temperature, dim=-1)
        shares = self.settings.other_teachers
        if not shares:
            return own
        terms = [own + math.log(1 - sum(shares.values()))]
        for store, share in shares.items():
            other = log_softmax(teacher.other_logits[store] / temperature, dim=-1)
            terms.append(other + math.log(share))
        return torch.stack(terms).logsumexp(0)
