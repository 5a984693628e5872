"""What the metrics file of one student holds, as `evaluate` writes it and the report reads it."""

from dataclasses import asdict
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pipeline.evaluate.cost import Cost
from pipeline.evaluate.settings import SplitName
from pipeline.evaluate.work import Work

SPLIT_ORDER: tuple[SplitName, ...] = ("validation", "test")

Fraction = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a metrics file. Keys it does not know are left to later versions."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class Quality(Part):
    """Scores against the labels, as fractions."""

    accuracy: Fraction
    macro_f1: Fraction
    expected_calibration_error: Fraction


class Fidelity(Part):
    """Closeness of a student to its teacher."""

    agreement: Fraction
    """Share of the rows on which both put the same label first."""

    kl: Annotated[float, Field(ge=0)]
    """Mean of KL(teacher || student), in nats."""


def _none_if_empty(value: object) -> object:
    return None if value == {} else value


QualityIfLabelled = Annotated[Quality | None, BeforeValidator(_none_if_empty)]
"""In the file, a split without labels has an empty object."""


class SplitMetrics(Part):
    """What was measured on one split."""

    n_rows: int
    n_labelled: int
    student: QualityIfLabelled
    teacher: QualityIfLabelled
    fidelity: Fidelity

    @model_validator(mode="after")
    def _has_both_scores_or_none(self) -> Self:
        if {self.student is None, self.teacher is None} != {self.n_labelled == 0}:
            raise ValueError(
                f"{self.n_labelled} rows are labelled; student and teacher must have scores "
                "where there are labels, and only there"
            )
        return self


class Costs(Part):
    """What student and teacher cost, timed in turn in one process."""

    device: str
    n_threads: int
    student: Cost
    teacher: Cost | None
    """Absent where the teacher's weights were not at hand."""

    @model_validator(mode="after")
    def _is_positive(self) -> Self:
        for cost in filter(None, (self.student, self.teacher)):
            for name, value in asdict(cost).items():
                if value <= 0:
                    raise ValueError(f"{name} is {value}; a cost is above zero")
        return self


class Works(Part):
    """What a forward of student and teacher takes."""

    student: Work
    teacher: Work | None
    """Absent where the teacher's weights were not at hand."""


class StudentMetrics(Part):
    """One student's metrics file."""

    student: str
    architecture: str
    n_layers: int | None
    objectives: tuple[str, ...]
    labels: tuple[str, ...]
    splits: Annotated[dict[SplitName, SplitMetrics], Field(min_length=1)]
    cost: Costs
    work: Works

    @property
    def split_names(self) -> tuple[SplitName, ...]:
        """The measured splits in their canonical order, whatever the file's."""
        return tuple(name for name in SPLIT_ORDER if name in self.splits)

    @property
    def compared_on(self) -> SplitName:
        """The last split with labels, or the last where none has any."""
        labelled = [name for name in self.split_names if self.splits[name].n_labelled]
        return (labelled or self.split_names)[-1]
