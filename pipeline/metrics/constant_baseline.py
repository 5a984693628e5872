"""Whether a model is better than one prediction that is the same for every row.

The constant prediction is the most frequent one among the split's own labels, the mean where
labels are numbers, and no answer where questions are answered. A model that does not beat it
has learned nothing that a student could learn from it. This module finds that; it does not
say why.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import METRICS, Metric

if TYPE_CHECKING:
    from pipeline.tasks.predictions import Predictions

NEARLY_ALL = 0.99
"""Share of equal predictions from which on a model predicts nearly always the same."""
_RIGHTLY_RARE = 10
"""Other predictions are rare without fault where at most this many times as many were right: of
words of which 99.5% are no entity, a good model says so of 99%, too."""
_NEEDS_CONFIDENCE = frozenset(("expected_calibration_error", "perplexity"))
"""Metrics of probabilities, which a constant prediction does not have."""

_UNITS = {
    "row": "rows",
    "label": "rows",
    "token": "words",
    "choice": "questions",
    "span": "questions",
    "piece": "label positions",
}


@dataclass(frozen=True)
class ConstantBaseline:
    """A model beside the best constant prediction on the labelled rows of one split.

    `dataclasses.asdict` gives its JSON form, `ConstantBaseline(**form)` reads it.
    """

    metric: str
    """What the two are compared by, a name in `METRICS`: the task's primary metric; accuracy
    where that one needs probabilities; mean_squared_error where labels are numbers."""
    score: float
    constant: str
    """The constant prediction in words, such as `the label 'O'`."""
    constant_score: float
    n_predictions: int
    unit: str
    """What is predicted of, in the plural: rows, words, questions or label positions."""
    most_given: str | None
    """The model's most frequent prediction in words; null where labels are numbers."""
    given_share: float
    """Share of the predictions that are `most_given`, from 0 to 1."""
    right_share: float
    """Share of the predictions for which `most_given` would be right, from 0 to 1."""

    @property
    def is_beaten(self) -> bool:
        """Whether the model is better than the constant prediction."""
        return METRICS[self.metric].is_better(self.score, self.constant_score)

    @property
    def is_nearly_constant(self) -> bool:
        """Whether the model predicts (nearly) always the same where it should not."""
        n_others, n_right_others = 1 - self.given_share, 1 - self.right_share
        return self.given_share >= NEARLY_ALL and _RIGHTLY_RARE * n_others <= n_right_others

    def fault(self, model: str, split: str) -> str:
        """Return a clause that says why the model is useless; empty where it is not.

        `model` is how the model is called, such as "the teacher". The clause begins with it
        and has no full stop.
        """
        measure = METRICS[self.metric]
        score = f"{measure.heading}, {measure.write_with_unit(self.score)}"
        constant_score = measure.write_with_unit(self.constant_score)
        if self.is_nearly_constant:
            n_given = round(self.given_share * self.n_predictions)
            share = "all" if n_given == self.n_predictions else f"{n_given:,} of"
            return (
                f"{model} gives {self.most_given} to {share} {self.n_predictions:,} {self.unit} "
                f"of {split}, which is right for {100 * self.right_share:.1f}% of them"
            )
        if not self.is_beaten:
            return (
                f"{model} is no better on {split} than always giving {self.constant}: its "
                f"{score}, is not {'above' if measure.greater_is_better else 'below'} "
                f"{constant_score}"
            )
        return ""


def compare_with_constant(predictions: "Predictions", metric: Metric) -> ConstantBaseline | None:
    """Return a model beside the best constant prediction; None where the labels cannot tell.

    That is where fewer than two different labels occur: there a constant is always right.

    Raises:
        DataError: as `score`.
        SignalError: a logit is infinite or not a number.
    """
    labelled = predictions.labelled()
    if not len(labelled.labels):
        return None
    if np.issubdtype(labelled.labels.dtype, np.floating):
        return _beside_mean(labelled)
    if labelled.predicts == "span":
        return _beside_no_answer(labelled, metric)
    given = _by_unit(labelled, labelled.predicted)
    right = _by_unit(labelled, labelled.labels.astype(np.int64))
    values, counts = np.unique(right, axis=0, return_counts=True)
    if len(values) < 2:
        return None
    constant = values[counts.argmax()]
    values, counts = np.unique(given, axis=0, return_counts=True)
    most_given = values[counts.argmax()]
    if metric.name in _NEEDS_CONFIDENCE:
        metric = METRICS["accuracy"]
    return ConstantBaseline(
        metric=metric.name,
        score=metric.compute(labelled),
        constant=_in_words(labelled, constant),
        constant_score=metric.compute(_always(labelled, np.tile(constant, len(right)))),
        n_predictions=len(right),
        unit=_UNITS[labelled.predicts],
        most_given=_in_words(labelled, most_given),
        given_share=float(counts.max() / len(given)),
        right_share=float((right == most_given).all(axis=1).mean()),
    )


def _beside_mean(predictions: "Predictions") -> ConstantBaseline | None:
    labels, metric = predictions.labels, METRICS["mean_squared_error"]
    if labels.min() == labels.max():
        return None
    mean = float(labels.mean())
    return ConstantBaseline(
        metric=metric.name,
        score=metric.compute(predictions),
        constant=f"the mean of the labels, {mean:.4g}",
        constant_score=metric.compute(replace(predictions, logits=np.full((len(labels), 1), mean))),
        n_predictions=len(labels),
        unit=_UNITS[predictions.predicts],
        most_given=None,
        given_share=0.0,
        right_share=0.0,
    )


def _beside_no_answer(predictions: "Predictions", metric: Metric) -> ConstantBaseline | None:
    texts = predictions.texts
    if texts is None or not any(texts.accepted):
        return None
    most_given, n_given = Counter(texts.given).most_common(1)[0]
    n_right = sum(most_given in (accepted or ("",)) for accepted in texts.accepted)
    if n_right == len(texts.accepted):
        return None
    n_texts = len(texts.given)
    return ConstantBaseline(
        metric=metric.name,
        score=metric.compute(predictions),
        constant="no answer",
        constant_score=metric.compute(
            replace(predictions, texts=replace(texts, given=("",) * n_texts))
        ),
        n_predictions=n_texts,
        unit=_UNITS[predictions.predicts],
        most_given=f"the answer '{most_given}'" if most_given else "no answer",
        given_share=n_given / n_texts,
        right_share=n_right / n_texts,
    )


def _by_unit(predictions: "Predictions", values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (unit, column): the labels of a row, or a single number."""
    n_columns = len(predictions.names) if predictions.predicts == "label" else 1
    return values.reshape(-1, n_columns)


def _in_words(predictions: "Predictions", value: NDArray[np.int64]) -> str:
    if predictions.predicts == "choice":
        return f"choice {value[0] + 1}"
    if predictions.predicts == "piece":
        return f"token id {value[0]}"
    numbers = np.flatnonzero(value) if predictions.predicts == "label" else value
    names = [f"'{predictions.names[number]}'" for number in numbers]
    if not names:
        return "no label"
    return f"the {'label' if len(names) == 1 else 'labels'} {', '.join(names)}"


def _always(predictions: "Predictions", predicted: NDArray[np.int64]) -> "Predictions":
    """Return the predictions of a model that puts these first."""
    if predictions.in_vocabulary is not None:
        whole = replace(predictions.in_vocabulary, first=predicted)
        return replace(predictions, in_vocabulary=whole)
    logits = np.zeros_like(predictions.logits)
    logits[np.arange(len(predicted)), predicted] = 1
    return replace(predictions, logits=logits)
