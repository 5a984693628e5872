"""The total loss: the sum of weight x objective."""

from torch import Tensor, nn

from pipeline.objectives.chosen import ChosenObjectives
from pipeline.objectives.linear import value_at
from pipeline.objectives.objective import LossInputs
from pipeline.signals.models import Models


class WeightedSum(nn.Module):
    """All objectives of a student and their total, each divided by the whole batch's targets."""

    def __init__(self, settings: ChosenObjectives, models: Models) -> None:
        super().__init__()
        self.objectives = nn.ModuleDict(
            {name: chosen.build(models) for name, chosen in settings.chosen()}
        )
        self.weights = {name: chosen.weight for name, chosen in settings.chosen()}

    def forward(self, batch: LossInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total, and each objective before its weight."""
        terms: dict[str, Tensor] = {
            name: objective(batch) for name, objective in self.objectives.items()
        }
        total = sum(
            value_at(self.weights[name], batch.progress) * term for name, term in terms.items()
        )
        assert isinstance(total, Tensor)
        return total, terms
