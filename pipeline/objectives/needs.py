"""What an objective reads of either model, and what all objectives' settings have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pipeline.core.settings import Section
from pipeline.objectives.linear import LinearWeight
from pipeline.signals.models import Models
from pipeline.signals.signal import Array

if TYPE_CHECKING:
    from pipeline.objectives.objective import Objective


@dataclass(frozen=True)
class Needs:
    """What objectives read of either model, beside the student's logits."""

    teacher: frozenset[Array] = frozenset()
    """Arrays of the store."""
    student: frozenset[Array] = frozenset()
    """Signals of the student's layers."""
    other_stores: frozenset[str] = frozenset()
    """Folders of other teachers' stores, whose logits are read."""

    def __or__(self, other: "Needs") -> "Needs":
        """Return what both together read."""
        return Needs(
            self.teacher | other.teacher,
            self.student | other.student,
            self.other_stores | other.other_stores,
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
