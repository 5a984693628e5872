"""What a number that models are compared by is called, and how it is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.tasks.task import Task

F_co = TypeVar("F_co", bound=Callable[..., float], covariant=True)


@dataclass(frozen=True)
class Unit:
    """How a number is written."""

    name: str
    """Empty for a plain number."""
    factor: float
    digits: int
    """After the point."""


PERCENT = Unit("%", 100, 1)
POINTS = Unit("points", 100, 1)
"""Hundredths, of what is no share of anything."""
PLAIN = Unit("", 1, 4)
NATS = Unit("nats", 1, 4)


@dataclass(frozen=True)
class Measure(Generic[F_co]):
    """One measure of a model, or of a student beside its teacher."""

    name: str
    """In params.yaml, metrics files and curves."""
    heading: str
    unit: Unit
    meaning: str
    """A sentence for who reads the report."""
    compute: F_co
    fits: Callable[[Task], bool]
    """Says by what is predicted whether a kind of task has it."""
    lowest: float = 0.0
    highest: float | None = 1.0
    """None where it has no bound."""
    greater_is_better: bool = True
    hub_name: str = ""
    """What the Hub calls it, where it knows it."""
    reads_texts: bool = False
    """Whether it needs the texts that a model writes, which takes long: it has a value where
    there are such, and none while a model is trained."""

    @property
    def loss_heading(self) -> str:
        """What it is called that a value is worse than another."""
        return "drop" if self.greater_is_better else "rise"

    @property
    def unit_of_differences(self) -> str:
        """The unit of the difference of two values: of percents, points."""
        return "points" if self.unit.factor == PERCENT.factor else self.unit.name

    def write_difference(self, value: float) -> str:
        """Return a difference in its unit, without the unit's name and a sign of nothing."""
        return f"{self.unit.factor * value:z.{self.unit.digits}f}"

    def is_better(self, value: float, other: float) -> bool:
        """Say whether one value is better than another, and not only as good."""
        return value > other if self.greater_is_better else value < other

    def write(self, value: float) -> str:
        """Return a value in the measure's unit, without the unit's name."""
        return f"{self.unit.factor * value:.{self.unit.digits}f}"

    def write_with_unit(self, value: float) -> str:
        """Return a value as it stands in a sentence."""
        return self.write(value) + ("%" if self.unit == PERCENT else "")

    def loss(self, value: float, against: float) -> float:
        """Return how much worse a value is than another; below 0 it is better."""
        return against - value if self.greater_is_better else value - against

    def fault(self, value: float) -> str:
        """Return why this cannot be a value of the measure, or nothing."""
        if value < self.lowest:
            return f"{value} should be greater than or equal to {self.lowest:g}"
        if self.highest is not None and value > self.highest:
            return f"{value} should be less than or equal to {self.highest:g}"
        return ""
