"""What a kind of task is: the facts every stage shares about it."""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.settings import Section


class TaskSettings(Section):
    """The `task` section."""

    kind: Literal["classification"] = "classification"


@dataclass(frozen=True)
class Task:
    """One kind of task."""

    kind: str
    auto_model: Any
    """The Transformers Auto class whose `from_pretrained` gives a model with the task's head."""
    logits_axes: tuple[str, ...]
    """Axes of one batch of logits, in STYLE's words: row, label, token, ..."""
    primary_metric: str
    """The metric that chooses the best checkpoint; larger is better."""
