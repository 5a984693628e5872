"""What every objective is, and what it is given.

An objective never pads, moves or decodes anything; it gets a batch in which teacher and student are
aligned and returns one number in nats or squared units, as its file says, averaged over the
targets of the batch: its rows, its predictions, or its labelled predictions.

A batch may be computed in parts, one after the other or by several processes. An objective is then
given a part, and divides the sum over the part's targets by the number of targets of the whole
batch (`LossInputs.counts`), so that losses and gradients of the parts add up to the batch's,
however it was cut.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from pipeline.signals.axis import Side
from pipeline.signals.signal import Array
from pipeline.tasks.pieces import in_classes
from pipeline.tasks.predictions import Targets
from pipeline.text.tokens import is_labelled


@dataclass(frozen=True)
class StudentOutputs:
    """What the student computed for a batch, or a part of one."""

    logits: Float[Tensor, "prediction class"]
    """Pre-softmax, as `tasks.predictions` arranges them; of a vocabulary, over all of it."""
    masks: Mapping[Side, Bool[Tensor, "batch token"]]
    """True on real tokens and, with a decoder beside the encoder, on its own: the targets."""
    signals: Mapping[Array, Float[Tensor, "batch ..."]] = field(default_factory=dict)
    """What is compared beside logits, by layer, padded: [CLS] (batch, hidden), states (batch,
    token, hidden), attention maps (batch, head, query, key), post-softmax."""


@dataclass(frozen=True)
class TeacherSignals:
    """What the store holds for the same rows, in float32."""

    logits: Float[Tensor, "prediction class"] | None = None
    """Pre-softmax, arranged as the student's; of a vocabulary, in `tasks.pieces`' classes."""
    pieces: Int[Tensor, "prediction k"] | None = None
    """The token ids that are the classes but the last, where a vocabulary's are predicted."""
    other_logits: Mapping[str, Float[Tensor, "prediction class"]] = field(default_factory=dict)
    """Other teachers' logits, by the folder of their store."""
    signals: Mapping[Array, Float[Tensor, "..."]] = field(default_factory=dict)
    """By layer, row after row without padding: [CLS] (batch, hidden); states (token, hidden);
    attention maps (element,), each row's (head, query, key) or, averaged over heads, (query, key).
    `MOMENTS` are those over the rows of the store, (moment, layer, hidden)."""

    def classes_of(self, student: StudentOutputs) -> Float[Tensor, "prediction class"]:
        """Return a student's logits, in float32, in the classes of the teacher's."""
        logits = student.logits.float()
        return logits if self.pieces is None else in_classes(logits, self.pieces)


@dataclass(frozen=True)
class BatchCounts:
    """How many targets a whole batch has."""

    n_rows: int
    n_predictions: int
    n_labelled: int
    """Predictions with a label."""

    @classmethod
    def of(cls, targets: Targets) -> "BatchCounts":
        """Return the counts of what is to be predicted of a batch."""
        n_labelled = int(np.count_nonzero(is_labelled(targets.labels)))
        return cls(targets.n_rows, len(targets.labels), n_labelled)


@dataclass(frozen=True)
class LossInputs:
    """What an objective is given: both models' signals for a batch, or a part of one."""

    student: StudentOutputs
    teacher: TeacherSignals
    labels: Shaped[Tensor, " prediction"]
    """-1 (numbers: nan) where unknown."""
    counts: BatchCounts
    """Of the whole batch."""
    progress: float = 0.0
    """The share of the training's updates that was made, from 0 to 1."""


class Objective(nn.Module, ABC):
    """One loss term; a module, because some have weights of their own."""

    @abstractmethod
    def forward(self, batch: LossInputs) -> Float[Tensor, ""]:
        """Return the loss: a sum over targets, divided by their number in the whole batch."""
