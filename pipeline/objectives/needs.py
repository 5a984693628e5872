"""What an objective reads of either model, and what all objectives' settings have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.core.settings import Section
from pipeline.objectives.linear import LinearWeight
from pipeline.objectives.models import Models
from pipeline.store.spec import ArraySpec

if TYPE_CHECKING:
    from pipeline.objectives.objective import Objective

StateSignal = Literal["hidden_states", "decoder_hidden_states"]
"""States of the encoder's tokens, or of those of a decoder beside it."""
MapSignal = Literal["attentions", "decoder_attentions", "cross_attentions"]
"""Attention of the encoder, of a decoder beside it, and of that decoder to the encoder."""


@dataclass(frozen=True)
class Needs:
    """What an objective reads of either model."""

    teacher: frozenset[ArraySpec] = frozenset()
    """Arrays of the store."""
    student_cls: frozenset[int] = frozenset()
    """Student layers whose [CLS] state is compared."""
    student_hidden_states: frozenset[int] = frozenset()
    """Student layers whose states of all tokens are compared."""
    student_attentions: frozenset[int] = frozenset()
    """Student layers whose attention maps are compared."""
    student_pooling: bool = False
    """Whether the weights by which the student's head reads its tokens are compared."""
    other_stores: frozenset[str] = frozenset()
    """Folders of other teachers' stores, whose logits are read."""
    student_decoder_hidden_states: frozenset[int] = frozenset()
    """Layers of the student's decoder whose states of all targets are compared."""
    student_decoder_attentions: frozenset[int] = frozenset()
    """Layers of the student's decoder whose own attention maps are compared."""
    student_cross_attentions: frozenset[int] = frozenset()
    """Layers of the student's decoder whose maps of the encoder's tokens are compared."""

    def __or__(self, other: "Needs") -> "Needs":
        """Return what both together read."""
        return Needs(
            self.teacher | other.teacher,
            self.student_cls | other.student_cls,
            self.student_hidden_states | other.student_hidden_states,
            self.student_attentions | other.student_attentions,
            self.student_pooling or other.student_pooling,
            self.other_stores | other.other_stores,
            self.student_decoder_hidden_states | other.student_decoder_hidden_states,
            self.student_decoder_attentions | other.student_decoder_attentions,
            self.student_cross_attentions | other.student_cross_attentions,
        )


class ObjectiveSettings(Section, ABC):
    """The settings of one loss term in `students.NAME.objectives`."""

    weight: Annotated[float, Field(gt=0)] | LinearWeight = 1.0
    """What the loss is multiplied by in the total."""
    compares_rows: ClassVar[bool] = False
    """Whether the loss compares rows of a batch with each other, so that none can be cut."""

    def needs(self, models: Models) -> Needs:
        """Return what the objective reads of either model.

        Raises:
            SettingsError: it cannot compare these models, or a layer map goes beyond one.
        """
        return Needs()

    @abstractmethod
    def build(self, models: Models) -> "Objective":
        """Return the loss itself, for models that `needs` did not refuse."""
