"""The `capture` section: which signals of the teacher are kept, and how."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, create_model

from pipeline.core.settings import Section
from pipeline.models.architecture import Architecture
from pipeline.signals import SIGNALS
from pipeline.signals.signal import Arrays, Signal, SignalSettings
from pipeline.tasks.task import Task

AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]


_FIELDS: dict[str, Any] = {
    name: (
        signal.settings if signal.captured == "always" else signal.settings | None,
        None if signal.captured == "if named" else signal.settings.model_validate({}),
    )
    for name, signal in SIGNALS.items()
    if signal.settings is not None
}
_Fields: Any = create_model("_Fields", __base__=Section, **_FIELDS)


class SignalsSettings(_Fields):  # type: ignore[misc]  # made from the table, so mypy knows no field
    """`capture.signals`: which signals are captured; logits always are."""

    def chosen(self) -> Iterator[tuple[Signal, SignalSettings]]:
        """Yield the signals that are captured with their settings, in the order of the table."""
        for signal in SIGNALS.values():
            settings = getattr(self, signal.name) if signal.settings else None
            if settings is not None:
                yield signal, settings

    def arrays(self, task: Task) -> Arrays:
        """Return the arrays that these settings ask for."""
        arrays: Arrays = {}
        for signal, settings in self.chosen():
            arrays |= settings.arrays(signal, task)
        return arrays

    def faults(self, task: Task, teacher: Architecture) -> list[str]:
        """Return a line for all that cannot be captured of this teacher, or for this task."""
        return [
            fault
            for signal, settings in self.chosen()
            for fault in settings.faults(
                signal, task, teacher, is_default=signal.name not in self.model_fields_set
            )
        ]


class CaptureSettings(Section):
    """The `capture` section."""

    signals: SignalsSettings = SignalsSettings()
    precision: AskedPrecision = "auto"
    """Number format of the teacher's matrix products. `auto` is an existing store's; for
    a new one bfloat16 on CUDA, float32 on a CPU."""
    segment_rows: int | None = Field(default=None, ge=1)
    """Rows of a segment; null makes its largest array about 128 MiB. Fixed at first capture."""
    warm_start: bool = True
    """Keep the teacher's weights in the store, so that students can start from them."""
