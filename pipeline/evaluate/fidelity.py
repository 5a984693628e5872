"""How closely a student follows its teacher, whatever the labels say.

No model is run here, and nothing is read or written.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.core.errors import DataError
from pipeline.metrics.measure import NATS, PERCENT, PLAIN, POINTS, Measure
from pipeline.metrics.numbers import correlate
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import Predictions, exact
from pipeline.tasks.task import Kind, Task


def _is_of_numbers(task: Task) -> bool:
    return task.predicts_numbers


def _is_of_classes(task: Task) -> bool:
    return not task.predicts_numbers


def fidelity(student: Predictions, teacher: Predictions, kind: Kind) -> dict[str, float]:
    """Return how closely a student follows its teacher, prediction by prediction.

    Of classes, `agreement`, a fraction, and `kl`, in nats; of numbers, `correlation` and
    `mean_absolute_difference`. Without a prediction the result is empty. Of language
    models `kl` is that in the teacher's classes (`tasks.pieces`), at most that of all token ids.

    Raises:
        DataError: the two differ in shape, so their predictions or classes cannot be paired.
        SignalError: a logit is infinite or not a number.
    """
    if student.logits.shape != teacher.logits.shape:
        raise DataError(
            f"student logits have shape {student.logits.shape}, "
            f"teacher logits {teacher.logits.shape}; fidelity pairs them row by row"
        )
    if len(student.logits) == 0:
        return {}
    student = replace(student, logits=exact(student.logits, "student logits"))
    teacher = replace(teacher, logits=exact(teacher.logits, "teacher logits"))
    return {name: FIDELITIES[name].compute(student, teacher) for name in fidelities_of(kind)}


def fidelities_of(kind: Kind) -> tuple[str, ...]:
    """Return the names of the measures of a kind of task; the first ranks students."""
    return tuple(name for name, measure in FIDELITIES.items() if measure.fits(TASKS[kind]))


def note_on(measure: str, kind: Kind) -> str:
    """Return what else is to be known of a measure of a kind of task, if anything."""
    if measure == "kl" and TASKS[kind].predicts == "piece":
        return (
            " All word pieces that are none of the teacher's likeliest count as one, so it is at "
            "most that of the whole vocabulary."
        )
    return ""


def agreement(student: Predictions, teacher: Predictions) -> float:
    """Return the share of predictions in which both put the same class, or piece, first."""
    return float(np.mean(student.predicted == teacher.predicted))


def kl(student: Predictions, teacher: Predictions) -> float:
    """Return the mean of KL(teacher || student) at temperature 1, in nats; 0 at equality."""
    import torch
    from torch.nn import functional

    divergence = functional.kl_div(
        torch.from_numpy(student.logits).log_softmax(dim=1),
        torch.from_numpy(teacher.logits).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    # Rounding can leave a divergence of 0 a hair below it.
    return max(0.0, float(divergence))


def correlation(student: Predictions, teacher: Predictions) -> float:
    """Return Pearson's correlation of the two models' numbers; 0 where either is constant."""
    return correlate(student.logits[:, 0], teacher.logits[:, 0])


def mean_absolute_difference(student: Predictions, teacher: Predictions) -> float:
    """Return how far the two models' numbers are apart on average, in the labels' unit."""
    return float(np.abs(student.logits - teacher.logits).mean())


Fidelity = Measure[Callable[[Predictions, Predictions], float]]

FIDELITIES: dict[str, Fidelity] = {
    measure.name: measure
    for measure in (
        Measure(
            name="agreement",
            heading="agreement",
            unit=PERCENT,
            meaning="How often student and teacher put the same first, right or wrong.",
            compute=agreement,
            fits=_is_of_classes,
        ),
        Measure(
            name="kl",
            heading="KL",
            unit=NATS,
            meaning="Mean divergence of the student's probabilities from the teacher's, "
            "KL(teacher ‖ student) at temperature 1. 0 is equality.",
            compute=kl,
            fits=_is_of_classes,
            highest=None,
            greater_is_better=False,
        ),
        Measure(
            name="correlation",
            heading="correlation",
            unit=POINTS,
            meaning="Linear correlation between the student's numbers and the teacher's, in "
            "hundredths: 100 where they lie on a rising line.",
            compute=correlation,
            fits=_is_of_numbers,
            lowest=-1.0,
        ),
        Measure(
            name="mean_absolute_difference",
            heading="distance from the teacher",
            unit=PLAIN,
            meaning="Mean absolute difference between the student's numbers and the teacher's. 0 "
            "is equality.",
            compute=mean_absolute_difference,
            fits=_is_of_numbers,
            highest=None,
            greater_is_better=False,
        ),
    )
}
