"""What a kind of task is: the facts every stage shares about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from pydantic import model_validator

from pipeline.core.settings import Section
from pipeline.text.masking_settings import MaskingSettings

Kind = Literal[
    "classification",
    "multi_label",
    "regression",
    "token_classification",
    "multiple_choice",
    "question_answering",
    "masked_lm",
    "sequence_to_sequence",
]
Unit = Literal["row", "label", "token", "choice", "span", "piece"]
"""What one prediction is about: a row; each label of a row, yes or no; a word of a row; which
of several rows, the choices of one question, is right; which of a row's tokens a span of
them begins or ends with; or which word piece of the whole vocabulary stands at a place."""
BY_TOKEN: frozenset[Unit] = frozenset(("token", "span"))
"""Those that a model has logits of for each token, not one for each row."""
LabelKind = Literal[
    "name", "names", "number", "word_names", "choice", "answers", "masked", "target_text"
]
"""How the data tells the truth about an example: a label's name, any number of names, a
number, a name for each word, which choice is right, texts that answer a question and where
they stand, the word pieces that masks hide, or a text to be written."""


class TaskSettings(Section):
    """The `task` section."""

    kind: Kind = "classification"

    metrics: tuple[str, ...] | None = None
    """What models are judged by, in place of the kind's own; the first chooses a student's best
    weights and ranks students. The teacher's are chosen by the kind's own."""

    masking: MaskingSettings = MaskingSettings()
    """Of a masked LM."""

    @model_validator(mode="after")
    def _only_a_masked_lm_masks(self) -> "TaskSettings":
        if self.kind != "masked_lm" and "masking" in self.model_fields_set:
            raise ValueError(
                f"only a masked_lm has masking; take it out, or set task.kind, which is {self.kind}"
            )
        return self


@dataclass(frozen=True)
class Task:
    """One kind of task."""

    kind: Kind
    auto_class: str
    """Name of the Transformers Auto class whose models have the task's head."""
    predicts: Unit
    label_kind: LabelKind
    metrics: tuple[str, ...]
    """Names of what models are judged by. The first chooses the best checkpoint and ranks
    students; whether larger is better of it, `METRICS` says."""
    problem_type: str | None = None
    """What Transformers calls the loss of a sequence classification head."""

    @property
    def primary_metric(self) -> str:
        """The metric that chooses the best checkpoint."""
        return self.metrics[0]

    @property
    def predicts_numbers(self) -> bool:
        """Whether predictions are numbers, near or far, and no classes with probabilities."""
        return self.label_kind == "number"

    @property
    def has_label_names(self) -> bool:
        """Whether labels are classes that the data name, the same for all examples."""
        return self.label_kind in ("name", "names", "word_names")

    def judged_by(self, metrics: Sequence[str] | None) -> "Task":
        """Return the task with these metrics, where there are any in place of its own."""
        return self if metrics is None else replace(self, metrics=tuple(metrics))

    @property
    def auto_model(self) -> Any:
        """The Auto class itself, imported when it is asked for: it takes seconds."""
        return getattr(import_module("transformers"), self.auto_class)
