"""What every objective is: settings that say what it needs, and a loss.

An objective never pads, moves or decodes anything; it gets a batch in which teacher
and student are aligned and returns one number in nats or squared units, as its file
says, averaged over the examples of the batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from pipeline.settings import Section
from pipeline.store.spec import ArraySpec


@dataclass(frozen=True)
class Depths:
    """Layers of the two models; their hidden states are numbered from 0, the embedding output."""

    student: int
    teacher: int


@dataclass(frozen=True)
class Needs:
    """What an objective reads of either model."""

    teacher: frozenset[ArraySpec] = frozenset()
    """Arrays of the store."""
    student_cls: frozenset[int] = frozenset()
    """Student layers whose [CLS] state is compared."""
    student_attentions: frozenset[int] = frozenset()
    """Student layers whose attention maps are compared."""

    def __or__(self, other: "Needs") -> "Needs":
        """Return what both together read."""
        return Needs(
            self.teacher | other.teacher,
            self.student_cls | other.student_cls,
            self.student_attentions | other.student_attentions,
        )


@dataclass(frozen=True)
class StudentOutputs:
    """What the student computed for a batch."""

    logits: Float[Tensor, "batch label"]
    """Pre-softmax."""
    mask: Bool[Tensor, "batch token"]
    """True on real tokens."""
    cls: Mapping[int, Float[Tensor, "batch hidden"]] = field(default_factory=dict)
    attentions: Mapping[int, Float[Tensor, "batch head query key"]] = field(default_factory=dict)
    """Post-softmax, padded."""


@dataclass(frozen=True)
class TeacherSignals:
    """What the store holds for the same batch, in float32."""

    logits: Float[Tensor, "batch label"] | None = None
    """Pre-softmax."""
    cls: Mapping[int, Float[Tensor, "batch hidden"]] = field(default_factory=dict)
    attentions: Mapping[int, Float[Tensor, " element"]] = field(default_factory=dict)
    """Post-softmax, row after row (head, query, key) over its own tokens, without padding."""


class Objective(nn.Module, ABC):
    """One loss term; a module, because some have weights of their own."""

    @abstractmethod
    def forward(
        self, student: StudentOutputs, teacher: TeacherSignals, labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """Return the loss, a mean over targets; `labels` are -1 where a row is unlabelled."""

    def count_targets(self, labels: NDArray[np.int64]) -> int:
        """Return what the mean is over; by it, the means of parts add up to that of the batch."""
        return len(labels)


class ObjectiveSettings(Section, ABC):
    """The settings of one loss term in `students.NAME.objectives`."""

    weight: float = Field(default=1.0, gt=0)
    """What the loss is multiplied by in the total."""

    def needs(self, depths: Depths) -> Needs:
        """Return what the objective reads of either model.

        Raises:
            SettingsError: a layer map goes beyond one of the models.
        """
        return Needs()

    @abstractmethod
    def build(self, depths: Depths) -> Objective:
        """Return the loss itself."""
