"""What one validation of a model gave, and which of two validations is the better one.

Teachers and students keep the weights of their best validation, by this one rule.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.metrics import METRICS
from pipeline.metrics.answers import Answers, FlatLogits, answers_of
from pipeline.metrics.constant_baseline import ConstantBaseline, compare_with_constant
from pipeline.metrics.measure import Measure
from pipeline.metrics.score import score
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Task
from pipeline.text.tokens import TokenSplit


@dataclass(frozen=True)
class Validated:
    """The scores of a model on the validation rows."""

    scores: Mapping[str, float]
    """By the name of the metric."""
    loss: float
    """Mean over the labelled predictions: -log p(label) in nats, or the squared error of a
    number."""
    baseline: ConstantBaseline | None = None
    """The model beside one constant prediction; None where the labels cannot tell them apart."""

    def is_better(self, other: "Validated", metric: str) -> bool:
        """Say whether the score is better, or equal with a lower loss.

        Where the metric does not tell models apart (accuracy while every row is given one
        label, entity F1 while no entity is found), the loss still says which has learned more.
        What is not a number is worse than any number.
        """
        measure = METRICS[metric]
        ours, theirs = (_comparable(one.scores[metric], measure) for one in (self, other))
        if ours != theirs:
            return measure.is_better(ours, theirs)
        return _loss_rank(self.loss) < _loss_rank(other.loss)

    def is_equal(self, other: "Validated", metric: str) -> bool:
        """Say whether score and loss are equal, so that neither is better."""
        return not self.is_better(other, metric) and not other.is_better(self, metric)

    def to_json(self) -> dict[str, Any]:
        """Return the form that metrics files hold: `validation` and `constant_baseline`."""
        return {
            "validation": {**self.scores, "loss": self.loss},
            "constant_baseline": None if self.baseline is None else asdict(self.baseline),
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "Validated":
        """Return what `to_json` made this of; other entries of the form do not matter."""
        scores = dict(form["validation"])
        loss, baseline = scores.pop("loss"), form["constant_baseline"]
        return cls(scores, loss, None if baseline is None else ConstantBaseline(**baseline))

    def fault(self, model: str) -> str:
        """Return a clause that says why the model is useless; empty where it is not."""
        return "" if self.baseline is None else self.baseline.fault(model, "validation")


def validate(
    task: Task,
    names: Sequence[str],
    said: FlatLogits | PiecePredictions,
    split: TokenSplit,
) -> Validated:
    """Return how good a model's predictions of a whole split are.

    `said` as `answers_of` takes it, `names` are those of the labels.

    Raises:
        DataError, SignalError: as `score`.
    """
    answers = answers_of(said, split, task.predicts, tuple(names))
    return Validated(
        score(task.metrics, answers),
        label_loss(answers),
        compare_with_constant(answers, METRICS[task.primary_metric]),
    )


def label_loss(answers: Answers) -> float:
    """Return the mean loss of the labelled predictions, as `Validated` has it.

    Raises:
        DataError, SignalError: as `score`.
    """
    labelled = answers.labelled()
    labels, logits = labelled.labels, labelled.logits
    if labelled.pieces is not None:
        return float(-labelled.pieces.log_probabilities.mean())
    if np.issubdtype(labels.dtype, np.floating):
        return float(np.square(logits[:, 0] - labels).mean())
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_labels = shifted[np.arange(len(labels)), labels.astype(np.int64)]
    return float((np.log(np.exp(shifted).sum(axis=1)) - of_labels).mean())


def _comparable(value: float, measure: Measure[Any]) -> float:
    if not math.isnan(value):
        return value
    return -math.inf if measure.is_larger_better else math.inf


def _loss_rank(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss
