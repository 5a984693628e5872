"""The total loss: the sum of weight x objective."""

from collections.abc import Iterator, Mapping

from pydantic import create_model, model_validator
from torch import Tensor, nn

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Section
from pipeline.objectives import OBJECTIVES
from pipeline.objectives.linear import value_at
from pipeline.objectives.models import Models
from pipeline.objectives.objective import (
    Needs,
    Objective,
    ObjectiveSettings,
    StudentOutputs,
    TeacherSignals,
)
from pipeline.tasks.predictions import Targets


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

    def needs(self, models: Models) -> Needs:
        """Return what all objectives together read of either model.

        Raises:
            SettingsError: with a line for each objective that cannot compare these models.
        """
        total, faults = Needs(), []
        for name, settings in self.chosen():
            try:
                total = total | settings.needs(models)
            except SettingsError as error:
                faults += [f"objectives.{name}: {fault}" for fault in error.faults]
        if faults:
            raise SettingsError(faults)
        return total

    def whole_batches(self) -> list[str]:
        """Return the objectives that compare the rows of a batch, so that it cannot be cut."""
        return [name for name, settings in self.chosen() if settings.compares_rows]


_FIELDS = {name: (settings | None, None) for name, settings in OBJECTIVES.items()}
ObjectivesSettings = create_model("ObjectivesSettings", __base__=ChosenObjectives, **_FIELDS)  # type: ignore[call-overload]  # pydantic's stubs want the fields spelt out


class WeightedSum(nn.Module):
    """All objectives of a student and their total.

    A batch may be computed in parts, one after the other or by several processes. Each
    objective is a mean over its own targets (rows, labelled predictions), so the parts' terms
    are weighed by their shares of the batch's targets: then totals and gradients of the
    parts add up to those of the batch, however it was cut.
    """

    def __init__(self, settings: ChosenObjectives, models: Models) -> None:
        super().__init__()
        self.objectives = nn.ModuleDict(
            {name: chosen.build(models) for name, chosen in settings.chosen()}
        )
        self.weights = {name: chosen.weight for name, chosen in settings.chosen()}

    def shares(self, part: Targets, batch: Targets) -> dict[str, float]:
        """Return the part's share of the batch's targets for each objective."""
        return {
            name: objective.count_targets(part) / max(1, objective.count_targets(batch))
            for name, objective in self._each()
        }

    def forward(
        self,
        student: StudentOutputs,
        teacher: TeacherSignals,
        labels: Tensor,
        shares: Mapping[str, float],
        progress: float,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the part's total, and each objective before its weight.

        `progress` is the share of the training's updates that was made, from 0 to 1.
        """
        for _, objective in self._each():
            objective.begin_step(progress)
        terms = {
            name: shares[name] * objective(student, teacher, labels)
            for name, objective in self._each()
        }
        total = sum(value_at(self.weights[name], progress) * term for name, term in terms.items())
        assert isinstance(total, Tensor)
        return total, terms

    def _each(self) -> Iterator[tuple[str, Objective]]:
        for name, objective in self.objectives.items():
            assert isinstance(objective, Objective)
            yield name, objective
