"""The objectives that a student chooses, by name: `students.NAME.objectives`."""

from collections.abc import Iterator

from pydantic import create_model, model_validator

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Section
from pipeline.objectives.needs import Needs, ObjectiveSettings
from pipeline.objectives.settings import OBJECTIVES
from pipeline.signals.models import Models


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
            raise SettingsError(*faults)
        return total

    def whole_batches(self) -> list[str]:
        """Return the objectives that compare the rows of a batch, so that it cannot be cut."""
        return [name for name, settings in self.chosen() if settings.compares_rows]


_FIELDS = {name: (settings | None, None) for name, settings in OBJECTIVES.items()}
ObjectivesSettings = create_model("ObjectivesSettings", __base__=ChosenObjectives, **_FIELDS)  # type: ignore[call-overload]  # pydantic's stubs want the fields spelt out
