"""Metrics of predictions that are classes: of texts, labels, words, choices or token ids."""

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.metrics.measure import PERCENT, POINTS, Measure, Unit
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.tag_scheme import as_iobes, tag_fault
from pipeline.tasks.task import Task
from pipeline.text.tokens import Labels

N_BINS = 15
"""Of `expected_calibration_error`."""
_LARGEST = float(np.log(np.finfo(np.float64).max))
"""The largest number whose exponential is still one."""


def accuracy(predictions: Predictions) -> float:
    """Return the share of right predictions, a fraction."""
    return float(np.mean(predictions.labels == predictions.predicted))


def f1(predictions: Predictions) -> float:
    """Return F1 of the second of two labels, as GLUE has it for MRPC and QQP.

    It is 0 where that label neither occurs nor is predicted.

    Raises:
        DataError: there are other than two labels.
    """
    n_names = len(predictions.names)
    if n_names != 2:
        raise DataError(
            f"the metric f1 is of the second of two labels, but there are {n_names}. "
            "Put macro_f1 in its place under task.metrics."
        )
    return _f1_of(1, predictions.labels, predictions.predicted)


def macro_f1(predictions: Predictions) -> float:
    """Return the mean of F1 over the labels that occur, a fraction.

    A label that is only ever predicted has no recall to speak of; it costs precision where
    it is wrong, and the mean has the same terms for every model that is tested on these rows.
    Where a row has any number of labels, those occur that some row has; without one it is 0.
    """
    if predictions.predicts == "label":
        labels, predicted = (
            _by_row(predictions, predictions.labels),
            _by_row(predictions, predictions.predicted),
        )
        occurring = np.flatnonzero(labels.any(axis=0)).tolist()
        scores = [_f1_of(1, labels[:, label], predicted[:, label]) for label in occurring]
        return float(np.mean(scores)) if scores else 0.0
    occurring = np.unique(predictions.labels).tolist()
    return float(
        np.mean([_f1_of(label, predictions.labels, predictions.predicted) for label in occurring])
    )


def micro_f1(predictions: Predictions) -> float:
    """Return F1 over all labels of all rows at once; 0 where none is there or predicted."""
    return _f1_of(1, predictions.labels, predictions.predicted)


def _f1_of(label: int, labels: Labels, predicted: NDArray[np.int64]) -> float:
    """Return F1 of one label against all others; 0 where it is neither there nor predicted.

    scikit-learn gives the same to the last bit, but takes a second to import.
    """
    is_label, is_predicted = labels == label, predicted == label
    n_either = int(np.count_nonzero(is_label) + np.count_nonzero(is_predicted))
    return 2 * int(np.count_nonzero(is_label & is_predicted)) / max(1, n_either)


def _by_row(
    predictions: Predictions, values: Int[np.ndarray, " prediction"]
) -> Int[np.ndarray, "row label"]:
    """Return values as a table; a row has a label for every name, or none at all."""
    if len(values) % len(predictions.names):
        raise DataError(
            f"{len(values):,} labels are not those of whole rows, which have "
            f"{len(predictions.names)} each"
        )
    return values.reshape(-1, len(predictions.names))


def matthews(predictions: Predictions) -> float:
    """Return the correlation, from -1 to 1; 0 for a model that always says the same.

    Source: Matthews 1975; for more than two labels Gorodkin 2004.
    """
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(predictions.labels, predictions.predicted))


def exact_match(predictions: Predictions) -> float:
    """Return the share of rows of which every prediction is right, a fraction."""
    _, row = np.unique(predictions.rows, return_inverse=True)
    n_wrong = np.bincount(row, weights=predictions.predicted != predictions.labels)
    return float(np.mean(n_wrong == 0))


def entity_f1(predictions: Predictions) -> float:
    """Return the harmonic mean of precision and recall of entities, over all types at once.

    An entity is right where its type, its first and its last word are. An `I-` that follows
    no entity of its type begins one, as in conlleval. 0 where there is none at all.

    Raises:
        DataError: the labels are not the tags of one scheme (`tasks.tag_scheme`).

    Source: Tjong Kim Sang and De Meulder 2003, cs/0306050.
    """
    from seqeval.metrics import f1_score

    if fault := tag_fault(predictions.names):
        raise DataError(f"labels: {fault}.")
    expected = _sentences(predictions, predictions.labels.astype(np.int64))
    return float(
        f1_score(expected, _sentences(predictions, predictions.predicted), zero_division=0)
    )


def _sentences(predictions: Predictions, labels: NDArray[np.int64]) -> list[list[str]]:
    """Return the labels' names, a list for each row."""
    names = np.array([as_iobes(name) for name in predictions.names], dtype=object)[labels]
    starts = np.flatnonzero(np.diff(predictions.rows)) + 1
    return [part.tolist() for part in np.split(names, starts)]


def expected_calibration_error(predictions: Predictions) -> float:
    """Return the mean gap between confidence and accuracy over 15 bins of equal width.

    Each bin weighs as much as its predictions; a confidence on the edge of two is in the upper
    one. A fraction; 0 is best.

    Source: Guo et al. 2017, 1706.04599, equation 3.
    """
    odds = np.exp(predictions.logits - predictions.logits.max(axis=1, keepdims=True))
    confidences = odds.max(axis=1) / odds.sum(axis=1)
    is_right = predictions.predicted == predictions.labels
    edges = np.linspace(0, 1, N_BINS + 1)[1:-1]
    gaps = np.bincount(np.searchsorted(edges, confidences, side="right"), confidences - is_right)
    return float(np.abs(gaps).sum() / len(confidences))


def perplexity(predictions: Predictions) -> float:
    """Return exp of the mean of -log p(label), from 1 up; 1 is best.

    With a vocabulary of n token ids it is n where all are as likely. The largest float64
    stands for what is above it.

    Source: Jelinek et al. 1977, 10.1121/1.2016299.
    """
    assert predictions.in_vocabulary is not None, "token ids have probabilities"
    mean = -float(np.mean(predictions.in_vocabulary.of_label))
    # A teacher's are differences of stored logits: rounding can leave one a hair above 0.
    return float(np.exp(np.clip(mean, 0.0, _LARGEST)))


def _is_of_classes(task: Task) -> bool:
    """Say whether each prediction is one of a few classes that differ by name or by place."""
    return task.has_label_names or task.predicts == "choice"


ACCURACY = Measure(
    name="accuracy",
    heading="accuracy",
    unit=PERCENT,
    meaning="How often what the model puts first is right.",
    compute=accuracy,
    fits=lambda task: _is_of_classes(task) or task.masks,
    hub_name="accuracy",
)
F1 = Measure(
    name="f1",
    heading="F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall of the second label.",
    compute=f1,
    fits=lambda task: task.has_one_class,
    hub_name="f1",
)
MACRO_F1 = Measure(
    name="macro_f1",
    heading="macro-F1",
    unit=PERCENT,
    meaning="Mean over the labels of F1, the harmonic mean of precision and recall: a rare label "
    "weighs as much as a frequent one.",
    compute=macro_f1,
    fits=lambda task: task.has_label_names,
    hub_name="f1",
)
MICRO_F1 = Measure(
    name="micro_f1",
    heading="micro-F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall over all labels of all rows at once: a frequent "
    "label weighs more than a rare one.",
    compute=micro_f1,
    fits=lambda task: task.predicts == "label",
    hub_name="f1",
)
MATTHEWS = Measure(
    name="matthews",
    heading="Matthews correlation",
    unit=POINTS,
    meaning="Correlation between labels and predictions, in hundredths: 100 where all are right, 0 "
    "where it is chance, or always the same label.",
    compute=matthews,
    fits=lambda task: task.has_one_class,
    hub_name="matthews_correlation",
    lowest=-1.0,
)
EXACT_MATCH = Measure(
    name="exact_match",
    heading="exact match",
    unit=PERCENT,
    meaning="Share of the rows of which everything that the model says is right.",
    compute=exact_match,
    fits=lambda task: task.predicts in ("label", "token"),
    hub_name="exact_match",
)
ENTITY_F1 = Measure(
    name="entity_f1",
    heading="entity F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall of entities; one is found where its type, its "
    "first and its last word are right.",
    compute=entity_f1,
    fits=lambda task: task.predicts == "token",
    hub_name="f1",
)
EXPECTED_CALIBRATION_ERROR = Measure(
    name="expected_calibration_error",
    heading="ECE",
    unit=POINTS,
    meaning="Expected calibration error: mean gap between the model's confidence and its accuracy "
    "where it is about as confident. 0 is best.",
    compute=expected_calibration_error,
    fits=_is_of_classes,
    greater_is_better=False,
)
PERPLEXITY = Measure(
    name="perplexity",
    heading="perplexity",
    unit=Unit("", 1, 2),
    meaning="Among how many equally likely word pieces the model would hesitate as much as it does "
    "at the right one: the exponential of the mean of -log p. 1 is best.",
    compute=perplexity,
    fits=lambda task: task.predicts == "piece",
    hub_name="perplexity",
    lowest=1.0,
    highest=None,
    greater_is_better=False,
)
