"""The predictions in which a student and its teacher disagree most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.report.evidence import Predictions
from pipeline.report.things import things_of
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

N_EXAMPLES = 5
_LONGEST_TEXT = 280
_LONGEST_CHOICE = 60

Names = Sequence[str] | Mapping[int, str] | None
"""What classes are called, by their numbers; None of numbers."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a prediction."""

    label: str
    probability: float | None
    """None of a number."""


@dataclass(frozen=True)
class Disagreement:
    """One prediction, and both models' answers."""

    text: str
    """Shortened; both texts where a row has two."""
    label: str | None
    """None where it is unlabelled."""
    teacher: Answer
    student: Answer
    divergence: float


def how_to_read(kind: Kind) -> str:
    """Return what the examples are."""
    things = things_of(kind).capitalize()
    if TASKS[kind].predicts_numbers:
        return f"{things} in which the two models' numbers are furthest apart."
    beside = (
        f"{things} of the largest divergence KL(teacher ‖ student), in nats; beside what each "
        "model puts first stands the probability that it gives it."
    )
    if TASKS[kind].predicts == "piece":
        return f"{beside} The place stands between angle quotes."
    return beside


def divergence_heading(kind: Kind) -> tuple[str, str]:
    """Return the name of the divergence, and its unit."""
    return ("difference", "") if TASKS[kind].predicts_numbers else ("KL", "nats")


def can_be_wrong(kind: Kind) -> bool:
    """Say whether an answer is right or wrong, and not only nearer or further."""
    return not TASKS[kind].predicts_numbers


def find_disagreements(predictions: Predictions, labels: Sequence[str]) -> tuple[Disagreement, ...]:
    """Return up to five predictions, the largest divergence first; none where nothing differs."""
    divergence = predictions.divergence
    worst = np.argsort(-divergence, kind="stable")[:N_EXAMPLES]
    return tuple(
        _example(predictions, int(number), labels) for number in worst if divergence[number] > 0
    )


def _example(predictions: Predictions, number: int, labels: Sequence[str]) -> Disagreement:
    one = predictions.table.slice(number, 1).to_pylist()[0]
    if predictions.is_of_pieces:
        return Disagreement(
            text=_around_piece(predictions.kind, one),
            label=one["label_token"],
            teacher=Answer(one["teacher_token"], one["teacher_confidence"]),
            student=Answer(one["student_token"], one["student_confidence"]),
            divergence=float(predictions.divergence[number]),
        )
    names = _class_names(predictions, number, one, labels)
    label = None
    if predictions.is_labelled[number]:
        label = _name(predictions.labels[number], names)
    return Disagreement(
        text=_text(predictions.kind, one, labels),
        label=label,
        teacher=_answer(predictions.teacher[number], names),
        student=_answer(predictions.student[number], names),
        divergence=float(predictions.divergence[number]),
    )


def _class_names(
    predictions: Predictions, number: int, one: dict[str, object], labels: Sequence[str]
) -> Names:
    """Return what the classes of a prediction are called; None where it is a number."""
    kind = predictions.kind
    if kind == "question_answering":
        numbers = {
            "label": predictions.labels,
            "student": predictions.student.argmax(1),
            "teacher": predictions.teacher.argmax(1),
        }
        return {int(of[number]): str(one[f"{who}_token"]) for who, of in numbers.items()}
    if TASKS[kind].predicts_numbers:
        return None
    if kind == "multi_label":
        return ("no", "yes")
    if kind == "multiple_choice":
        choices = one["choices"]
        assert isinstance(choices, list)
        return [
            shorten_line(choice or f"choice {place}", _LONGEST_CHOICE)
            for place, choice in enumerate(choices, start=1)
        ]
    return labels


def _text(kind: Kind, one: dict[str, object], labels: Sequence[str]) -> str:
    text, pair, place = str(one["text"]), one["text_pair"], one["place"]
    assert isinstance(place, int)
    if kind == "multiple_choice":
        return shorten_line(text, _LONGEST_TEXT)
    whole = text if pair is None else f"{text} ‖ {pair}"
    if kind in ("multi_label", "question_answering"):
        return f"{labels[place]}? {shorten_line(whole, _LONGEST_TEXT)}"
    if kind == "token_classification":
        return _with_marked_word(text.split(), place)
    return shorten_line(whole, _LONGEST_TEXT)


def _around_piece(kind: Kind, one: dict[str, object]) -> str:
    context = " ".join(str(one["context"]).split())
    if kind == "masked_lm":
        return shorten_line(context, _LONGEST_TEXT)
    return f"{shorten_line(str(one['text']), _LONGEST_TEXT)} ‖ {context}"


def _with_marked_word(words: Sequence[str], place: int) -> str:
    """Return a sentence around one of its words, which stands between angle quotes."""
    if place >= len(words):
        return shorten_line(" ".join(words), _LONGEST_TEXT)
    before, after = " ".join(words[:place]), " ".join(words[place + 1 :])
    half = _LONGEST_TEXT // 2
    if len(before) > half:
        before = "…" + before[1 - half :]
    return " ".join([before, f"»{words[place]}«", shorten_line(after, half)]).strip()


def _name(label: np.number, names: Names) -> str:
    return f"{float(label):.3g}" if names is None else names[int(label)]


def _answer(values: Float[np.ndarray, " class"], names: Names) -> Answer:
    if names is None:
        return Answer(f"{values[0]:.3g}", None)
    first = int(values.argmax())
    return Answer(names[first], float(values[first]))


def shorten_line(text: str, n_characters: int) -> str:
    """Return a text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= n_characters else line[: n_characters - 1] + "…"
