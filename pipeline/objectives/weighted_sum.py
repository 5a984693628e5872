"""The total loss: the sum of weight x objective."""

from collections.abc import Iterator

from pydantic import create_model, model_validator
from torch import Tensor, nn

from pipeline.objectives import OBJECTIVES
from pipeline.objectives.objective import (
    Depths,
    Needs,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.settings import Section


class ChosenObjectives(Section):
    """`students.NAME.objectives`: at least one objective by name."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> "ChosenObjectives":
        if not list(self.chosen()):
            raise ValueError(f"choose at least one objective: {', '.join(OBJECTIVES)}")
        return self

    def chosen(self) -> Iterator[tuple[str, ObjectiveSettings]]:
        """Yield the objectives that are set, in the order of the table."""
        for name in OBJECTIVES:
            settings = getattr(self, name)
            if settings is not None:
                yield name, settings

    def needs(self, depths: Depths) -> Needs:
        """Return what all objectives together read of either model."""
        total = Needs()
        for _, settings in self.chosen():
            total = total | settings.needs(depths)
        return total


_FIELDS = {name: (settings | None, None) for name, settings in OBJECTIVES.items()}
ObjectivesSettings = create_model("ObjectivesSettings", __base__=ChosenObjectives, **_FIELDS)  # type: ignore[call-overload]  # pydantic's stubs want the fields spelt out


class WeightedSum(nn.Module):
    """All objectives of a student and their total."""

    def __init__(self, settings: ChosenObjectives, depths: Depths) -> None:
        super().__init__()
        self.objectives = nn.ModuleDict(
            {name: chosen.build(depths) for name, chosen in settings.chosen()}
        )
        self.weights = {name: chosen.weight for name, chosen in settings.chosen()}

    def forward(
        self, student: StudentOutputs, teacher: TeacherSignals, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and each objective before its weight."""
        terms = {
            name: objective(student, teacher, labels) for name, objective in self.objectives.items()
        }
        total = sum(self.weights[name] * term for name, term in terms.items())
        assert isinstance(total, Tensor)
        return total, terms
