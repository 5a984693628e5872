"""How closely a student follows its teacher, whatever the labels say.

No model is run here, and nothing is read or written.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from pipeline.errors import DataError
from pipeline.metrics.answers import ExactLogits, Logits, exact
from pipeline.metrics.correlation import correlate
from pipeline.metrics.measure import NATS, PERCENT, PLAIN, POINTS, Measure
from pipeline.tasks.task import Kind

_WITH_CLASSES: frozenset[Kind] = frozenset(
    (
        "classification",
        "multi_label",
        "token_classification",
        "multiple_choice",
        "question_answering",
    )
)
_WITH_NUMBERS: frozenset[Kind] = frozenset(("regression",))


def fidelity(student_logits: Logits, teacher_logits: Logits, kind: Kind) -> dict[str, float]:
    """Return how closely a student follows its teacher, prediction by prediction.

    Of classes, `agreement`, a fraction, and `kl`, in nats; of numbers, `correlation` and
    `mean_absolute_difference`. Without a prediction the result is empty.

    Raises:
        DataError: the two differ in shape, so their predictions or classes cannot be paired.
        SignalError: a logit is infinite or not a number.
    """
    if student_logits.shape != teacher_logits.shape:
        raise DataError(
            f"student logits have shape {student_logits.shape}, "
            f"teacher logits {teacher_logits.shape}; fidelity pairs them row by row"
        )
    if len(student_logits) == 0:
        return {}
    student = exact(student_logits, "student logits")
    teacher = exact(teacher_logits, "teacher logits")
    return {name: FIDELITIES[name].compute(student, teacher) for name in fidelities_of(kind)}


def fidelities_of(kind: Kind) -> tuple[str, ...]:
    """Return the names of the measures of a kind of task; the first ranks students."""
    return tuple(name for name, measure in FIDELITIES.items() if kind in measure.kinds)


def agreement(student: ExactLogits, teacher: ExactLogits) -> float:
    """Return the share of predictions in which both put the same class first."""
    return float(np.mean(student.argmax(axis=1) == teacher.argmax(axis=1)))


def kl(student: ExactLogits, teacher: ExactLogits) -> float:
    """Return the mean of KL(teacher || student) at temperature 1, in nats; 0 at equality."""
    divergence = functional.kl_div(
        torch.from_numpy(student).log_softmax(dim=1),
        torch.from_numpy(teacher).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    # Rounding can leave a divergence of 0 a hair below it.
    return max(0.0, float(divergence))


def correlation(student: ExactLogits, teacher: ExactLogits) -> float:
    """Return Pearson's correlation of the two models' numbers; 0 where either is constant."""
    return correlate(student[:, 0], teacher[:, 0])


def mean_absolute_difference(student: ExactLogits, teacher: ExactLogits) -> float:
    """Return how far the two models' numbers are apart on average, in the labels' unit."""
    return float(np.abs(student - teacher).mean())


Fidelity = Measure[Callable[[ExactLogits, ExactLogits], float]]

FIDELITIES: dict[str, Fidelity] = {
    measure.name: measure
    for measure in (
        Measure(
            name="agreement",
            heading="agreement",
            unit=PERCENT,
            meaning="How often student and teacher put the same first, right or wrong.",
            compute=agreement,
            kinds=_WITH_CLASSES,
        ),
        Measure(
            name="kl",
            heading="KL",
            unit=NATS,
            meaning="Mean divergence of the student's probabilities from the teacher's, "
            "KL(teacher ‖ student) at temperature 1. 0 is equality.",
            compute=kl,
            kinds=_WITH_CLASSES,
            highest=None,
            is_larger_better=False,
        ),
        Measure(
            name="correlation",
            heading="correlation",
            unit=POINTS,
            meaning="Linear correlation between the student's numbers and the teacher's, in "
            "hundredths: 100 where they lie on a rising line.",
            compute=correlation,
            kinds=_WITH_NUMBERS,
            lowest=-1.0,
        ),
        Measure(
            name="mean_absolute_difference",
            heading="distance from the teacher",
            unit=PLAIN,
            meaning="Mean absolute difference between the student's numbers and the teacher's. 0 "
            "is equality.",
            compute=mean_absolute_difference,
            kinds=_WITH_NUMBERS,
            highest=None,
            is_larger_better=False,
        ),
    )
}
