"""How good a model's predictions are: scores against the labels, and which validation is best.

Teachers and students keep the weights of their best validation, by one rule. No model is run here,
and nothing is read or written.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.metrics import METRICS
from pipeline.metrics.constant_baseline import ConstantBaseline, compare_with_constant
from pipeline.metrics.measure import Measure
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import Task, TaskSettings


def metric_faults(settings: TaskSettings) -> list[str]:
    """Return a line for each fault of `task.metrics`."""
    if settings.metrics is None:
        return []
    place = "task.metrics"
    task = TASKS[settings.kind]
    fitting = [name for name, metric in METRICS.items() if metric.fits(task)]
    faults = []
    for name in settings.metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(name, fitting, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fitting)}"
            faults.append(f"{place}: there is no metric '{name}'; {remedy}")
        elif name not in fitting:
            faults.append(
                f"{place}: {name} is not of {settings.kind}; choose among {', '.join(fitting)}"
            )
    if not settings.metrics or len(set(settings.metrics)) < len(settings.metrics):
        faults.append(
            f"{place}: name at least one metric, and each once; found {[*settings.metrics]}"
        )
    elif not faults and METRICS[settings.metrics[0]].reads_texts:
        rest = [name for name in fitting if not METRICS[name].reads_texts]
        faults.append(
            f"{place}: the first metric selects the best weights during training, but "
            f"{settings.metrics[0]} needs generated texts; put {' or '.join(rest)} before it"
        )
    return faults


def score(metrics: Sequence[str], predictions: Predictions) -> dict[str, float]:
    """Return the metrics by name, over the labelled predictions; without one, nothing.

    Those that read written texts are left out where there are none.

    Raises:
        DataError: the shapes do not fit, a label is not a column of the logits, or a metric
            is not one of these labels.
        SignalError: a logit is infinite or not a number.
    """
    labelled = predictions.labelled()
    if not len(labelled.labels):
        return {}
    return {
        name: METRICS[name].compute(labelled)
        for name in metrics
        if predictions.written is not None or not METRICS[name].reads_texts
    }


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


def validate(task: Task, predictions: Predictions) -> Validated:
    """Return how good a model's predictions of a whole split are.

    Raises:
        DataError, SignalError: as `score`.
    """
    return Validated(
        score(task.metrics, predictions),
        label_loss(predictions),
        compare_with_constant(predictions, METRICS[task.primary_metric]),
    )


def label_loss(predictions: Predictions) -> float:
    """Return the mean loss of the labelled predictions, as `Validated` has it.

    Raises:
        DataError, SignalError: as `score`.
    """
    labelled = predictions.labelled()
    labels, logits = labelled.labels, labelled.logits
    if labelled.in_vocabulary is not None:
        return float(-labelled.in_vocabulary.of_label.mean())
    if np.issubdtype(labels.dtype, np.floating):
        return float(np.square(logits[:, 0] - labels).mean())
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_labels = shifted[np.arange(len(labels)), labels.astype(np.int64)]
    return float((np.log(np.exp(shifted).sum(axis=1)) - of_labels).mean())


def _comparable(value: float, measure: Measure[Any]) -> float:
    if not math.isnan(value):
        return value
    return -math.inf if measure.greater_is_better else math.inf


def _loss_rank(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss
