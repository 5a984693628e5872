"""The total loss: the sum of weight x objective."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from pipeline.objectives.chosen import ChosenObjectives
from pipeline.objectives.linear import value_at
from pipeline.objectives.models import Models
from pipeline.objectives.objective import Objective, StudentOutputs, TeacherSignals
from pipeline.tasks.predictions import Targets


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
