"""Where a student and its teacher disagree most: predictions, and the texts that they write."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.report.evidence import Predictions
from pipeline.report.tables import MISSING, Cell, Heading, Row, Table
from pipeline.report.wording import WORDINGS, Names, Wording, shorten_line
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

N_EXAMPLES = 5
_NO_ANSWER = "no answer"


def explain_disagreements(kind: Kind) -> str:
    """Return what the table of disagreements shows."""
    wording = WORDINGS[kind]
    things = wording.things.capitalize()
    if TASKS[kind].predicts_numbers:
        return f"{things} in which the two models' numbers are furthest apart."
    return (
        f"{things} of the largest divergence KL(teacher ‖ student), in nats; beside what each "
        "model puts first stands the probability that it gives it."
        f"{wording.note and f' {wording.note}'}"
    )


def table_disagreements(
    predictions: Predictions, labels: Sequence[str], student: str
) -> Table | None:
    """Return up to five predictions, the largest divergence first; None where nothing differs."""
    divergence = predictions.divergence
    worst = np.argsort(-divergence, kind="stable")[:N_EXAMPLES]
    rows = [_disagreement(predictions, int(n), labels) for n in worst if divergence[n] > 0]
    is_number = TASKS[predictions.kind].predicts_numbers
    last = Heading("difference") if is_number else Heading("KL", "nats")
    headings = (*map(Heading, ("text", "label", "teacher", "student")), last)
    title = f"Disagreements of {student}"
    return Table(title, headings, tuple(rows), "examples") if rows else None


def _disagreement(predictions: Predictions, number: int, labels: Sequence[str]) -> Row:
    wording = WORDINGS[predictions.kind]
    row = predictions.table.slice(number, 1).to_pylist()[0]
    if TASKS[predictions.kind].predicts_numbers:
        label, teacher, student = _numbers(predictions, number)
    elif predictions.names_tokens:
        label, teacher, student = _tokens(row)
    else:
        label, teacher, student = _classes(predictions, number, row, labels, wording)
    text = Cell(wording.text_of(row, labels), style="text")
    divergence = Cell(f"{predictions.divergence[number]:.2f}")
    return Row((text, Cell(MISSING if label is None else label), teacher, student, divergence))


Answers = tuple[str | None, Cell, Cell]
"""The label, None where it is unknown, and what teacher and student say."""


def _numbers(predictions: Predictions, number: int) -> Answers:
    label = float(predictions.labels[number]) if predictions.is_labelled[number] else None
    teacher, student = predictions.teacher[number, 0], predictions.student[number, 0]
    name = None if label is None else f"{label:.3g}"
    return name, Cell(f"{teacher:.3g}"), Cell(f"{student:.3g}")


def _tokens(row: Mapping[str, Any]) -> Answers:
    label: str | None = row["label_token"]
    teacher, student = (
        _answer(row[f"{who}_token"], row[f"{who}_confidence"], label)
        for who in ("teacher", "student")
    )
    return label, teacher, student


def _classes(
    predictions: Predictions,
    number: int,
    row: Mapping[str, Any],
    labels: Sequence[str],
    wording: Wording,
) -> Answers:
    teacher, student = predictions.teacher[number], predictions.student[number]
    classes = {
        "label": int(predictions.labels[number]),
        "student": int(student.argmax()),
        "teacher": int(teacher.argmax()),
    }
    names: Names = wording.names_of(row, labels, classes)
    label = names[classes["label"]] if predictions.is_labelled[number] else None
    return (
        label,
        _answer(names[classes["teacher"]], float(teacher.max()), label),
        _answer(names[classes["student"]], float(student.max()), label),
    )


def _answer(name: str, probability: float, label: str | None) -> Cell:
    is_wrong = label is not None and name != label
    return Cell(name, f"{probability:.3f}", "wrong" if is_wrong else "")


def explain_texts(wording: Wording) -> str:
    """Return what the table of texts shows."""
    return (
        f"{wording.texts_are} in which the student's text shares the fewest words with the "
        "teacher's, or with the right one where the teacher wrote none. All of them are in the "
        "files SPLIT-texts.arrow of the student's evaluation."
    )


def table_texts(texts: pa.Table, student: str) -> Table | None:
    """Return up to five texts, those that differ most first; None where nothing differs."""
    rows = texts.to_pylist()
    shares = [
        _shared(row["student"], row["teacher"])
        if row["teacher"] is not None
        else max((_shared(row["student"], text) for text in row["references"]), default=1.0)
        for row in rows
    ]
    worst = sorted(range(len(rows)), key=lambda number: shares[number])[:N_EXAMPLES]
    found = tuple(_text_example(rows[number]) for number in worst if shares[number] < 1)
    headings = tuple(map(Heading, ("text", "right", "teacher", "student")))
    return Table(f"Texts of {student}", headings, found, "examples", n_left=4) if found else None


def _text_example(row: Mapping[str, Any]) -> Row:
    right = [one.strip() for one in row["references"]] or [""]
    references = shorten_line(" / ".join(dict.fromkeys(right))) or _NO_ANSWER
    written = [
        Cell(MISSING, style="said")  # the teacher's own texts are not at hand
        if text is None
        else Cell(
            shorten_line(text) or _NO_ANSWER,
            style="said" if text.strip() in right else "said wrong",
        )
        for text in (row["teacher"], row["student"])
    ]
    text = Cell(shorten_line(row["text"]), style="text")
    return Row((text, Cell(references, style="said"), *written))


def _shared(one: str, other: str) -> float:
    """Return F1 between the words of two texts; of texts in a single word, between characters."""
    if one.strip() == other.strip():
        return 1.0
    has_words = " " in f"{one.strip()}{other.strip()}"
    ours, theirs = (text.split() if has_words else [*text.strip()] for text in (one, other))
    n_shared = sum((Counter(ours) & Counter(theirs)).values())
    n_words = len(ours) + len(theirs)
    # Equal words in another order are not the same text.
    return min(2 * n_shared / n_words, 0.999) if n_words else 0.999
