"""F1, the harmonic mean of precision and recall: of one label, of all, or of each."""

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.text.tokens import Labels


def f1(answers: Answers) -> float:
    """Return F1 of the second of two labels, as GLUE has it for MRPC and QQP.

    It is 0 where that label neither occurs nor is predicted.

    Raises:
        DataError: there are other than two labels.
    """
    if len(answers.names) != 2:
        raise DataError(
            f"the metric f1 is of the second of two labels, but there are {len(answers.names)}. "
            "Put macro_f1 in its place under task.metrics."
        )
    return _f1_of(1, answers.labels, answers.predicted)


def macro_f1(answers: Answers) -> float:
    """Return the mean of F1 over the labels that occur, a fraction.

    A label that is only ever predicted has no recall to speak of; it costs precision where
    it is wrong, and the mean has the same terms for every model that is tested on these rows.
    Where a row has any number of labels, those occur that some row has; without one it is 0.
    """
    if answers.predicts == "label":
        labels, predicted = _by_row(answers, answers.labels), _by_row(answers, answers.predicted)
        occurring = np.flatnonzero(labels.any(axis=0)).tolist()
        scores = [_f1_of(1, labels[:, label], predicted[:, label]) for label in occurring]
        return float(np.mean(scores)) if scores else 0.0
    occurring = np.unique(answers.labels).tolist()
    return float(np.mean([_f1_of(label, answers.labels, answers.predicted) for label in occurring]))


def micro_f1(answers: Answers) -> float:
    """Return F1 over all labels of all rows at once; 0 where none is there or predicted."""
    return _f1_of(1, answers.labels, answers.predicted)


def _f1_of(label: int, labels: Labels, predicted: NDArray[np.int64]) -> float:
    """Return F1 of one label against all others; 0 where it is neither there nor predicted.

    scikit-learn gives the same to the last bit, but takes a second to import.
    """
    is_label, is_predicted = labels == label, predicted == label
    n_either = int(np.count_nonzero(is_label) + np.count_nonzero(is_predicted))
    return 2 * int(np.count_nonzero(is_label & is_predicted)) / max(1, n_either)


def _by_row(
    answers: Answers, values: Int[np.ndarray, " prediction"]
) -> Int[np.ndarray, "row label"]:
    """Return values as a table; a row has a label for every name, or none at all."""
    if len(values) % len(answers.names):
        raise DataError(
            f"{len(values):,} labels are not those of whole rows, which have "
            f"{len(answers.names)} each"
        )
    return values.reshape(-1, len(answers.names))


F1 = Measure(
    name="f1",
    heading="F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall of the second label.",
    compute=f1,
    kinds=frozenset(("classification",)),
)
MACRO_F1 = Measure(
    name="macro_f1",
    heading="macro-F1",
    unit=PERCENT,
    meaning="Mean over the labels of F1, the harmonic mean of precision and recall: a rare label "
    "weighs as much as a frequent one.",
    compute=macro_f1,
    kinds=frozenset(("classification", "multi_label", "token_classification")),
)
MICRO_F1 = Measure(
    name="micro_f1",
    heading="micro-F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall over all labels of all rows at once: a frequent "
    "label weighs more than a rare one.",
    compute=micro_f1,
    kinds=frozenset(("multi_label",)),
)
