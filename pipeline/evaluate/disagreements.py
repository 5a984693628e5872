"""The rows on which a student and its teacher disagree most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.evidence import Predictions, Probabilities

N_EXAMPLES = 5
_LONGEST_TEXT = 280

HOW_TO_READ = (
    "Rows of the largest divergence KL(teacher ‖ student), in nats; beside each model's first "
    "label stands the probability that it gives it."
)


@dataclass(frozen=True)
class Answer:
    """What a model says of a row."""

    label: str
    probability: float


@dataclass(frozen=True)
class Disagreement:
    """One row, and both models' answers."""

    text: str
    """Shortened; both texts where a row has two."""
    label: str | None
    """None where the row is unlabelled."""
    teacher: Answer
    student: Answer
    kl: float


def find_disagreements(predictions: Predictions, labels: Sequence[str]) -> tuple[Disagreement, ...]:
    """Return up to five rows, the largest divergence first; none where nothing differs."""
    worst = np.argsort(-predictions.kl, kind="stable")[:N_EXAMPLES]
    return tuple(
        Disagreement(
            text=_shorten(predictions.texts[row]),
            label=labels[predictions.labels[row]] if predictions.is_labelled[row] else None,
            teacher=_answer(predictions.teacher, row, labels),
            student=_answer(predictions.student, row, labels),
            kl=float(predictions.kl[row]),
        )
        for row in worst
        if predictions.kl[row] > 0
    )


def _answer(probabilities: Probabilities, row: int, labels: Sequence[str]) -> Answer:
    first = int(probabilities[row].argmax())
    return Answer(labels[first], float(probabilities[row, first]))


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"
