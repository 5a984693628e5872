"""What a kind of task is: the facts every stage shares about it."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from pipeline.settings import Section


class TaskSettings(Section):
    """The `task` section."""

    kind: Literal["classification"] = "classification"


@dataclass(frozen=True)
class Task:
    """One kind of task."""

    kind: str
    auto_class: str
    """Name of the Transformers Auto class whose models have the task's head."""
    logits_axes: tuple[str, ...]
    """Axes of one batch of logits, in STYLE's words: row, label, token, ..."""
    primary_metric: str
    """The metric that chooses the best checkpoint; larger is better."""

    @property
    def auto_model(self) -> Any:
        """The Auto class itself, imported when it is asked for: it takes seconds."""
        return getattr(import_module("transformers"), self.auto_class)
