"""What students write or answer beside their teacher: the texts in which they differ most."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.report.disagreements import shorten_line
from pipeline.tasks.task import Kind

N_EXAMPLES = 5
_LONGEST_TEXT = 280
_NO_ANSWER = "no answer"
_TITLES: dict[Kind, str] = {
    "question_answering": "Answers as texts",
    "sequence_to_sequence": "Texts as they were written",
}


@dataclass(frozen=True)
class TextExample:
    """A text or a question, and what comes of it."""

    text: str
    references: str
    """The right texts; no answer, where there is none."""
    teacher: str | None
    """None where the teacher's own texts are not at hand."""
    student: str
    is_right: tuple[bool, bool]
    """Whether the teacher's is one of the right texts, and the student's."""


def title_of(kind: Kind) -> str | None:
    """Return the heading of the examples; None for a kind of task without texts."""
    return _TITLES.get(kind)


def how_to_read(kind: Kind) -> str:
    """Return what the examples are."""
    what = "Questions" if kind == "question_answering" else "Texts"
    return (
        f"{what} in which the student's text shares the fewest words with the teacher's, or with "
        "the right one where the teacher wrote none. All of them are in the files "
        "SPLIT-texts.arrow of the student's evaluation."
    )


def find_text_examples(table: pa.Table) -> tuple[TextExample, ...]:
    """Return up to five texts, those that differ most first; none where nothing differs."""
    rows = table.to_pylist()
    shares = [
        _shared(row["student"], row["teacher"])
        if row["teacher"] is not None
        else max((_shared(row["student"], text) for text in row["references"]), default=1.0)
        for row in rows
    ]
    worst = sorted(range(len(rows)), key=lambda number: shares[number])[:N_EXAMPLES]
    return tuple(_example(rows[number]) for number in worst if shares[number] < 1)


def _example(row: dict[str, str | list[str]]) -> TextExample:
    text, student, teacher, references = (
        row[name] for name in ("text", "student", "teacher", "references")
    )
    assert isinstance(text, str) and isinstance(student, str)
    assert isinstance(references, list) and (teacher is None or isinstance(teacher, str))
    right = [one.strip() for one in references] or [""]
    return TextExample(
        text=shorten_line(text, _LONGEST_TEXT),
        references=_named(" / ".join(dict.fromkeys(right))),
        teacher=None if teacher is None else _named(teacher),
        student=_named(student),
        is_right=(teacher is not None and teacher.strip() in right, student.strip() in right),
    )


def _named(text: str) -> str:
    return shorten_line(text, _LONGEST_TEXT) or _NO_ANSWER


def _shared(one: str, other: str) -> float:
    """Return F1 between the words of two texts; of texts in a single word, between characters."""
    if one.strip() == other.strip():
        return 1.0
    words = [
        _words(text, is_of_words=" " in f"{one.strip()}{other.strip()}") for text in (one, other)
    ]
    n_words = sum(map(len, words))
    n_shared = sum((Counter(words[0]) & Counter(words[1])).values())
    # Equal words in another order are not the same text.
    return min(2 * n_shared / n_words, 0.999) if n_words else 0.999


def _words(text: str, *, is_of_words: bool) -> Sequence[str]:
    return text.split() if is_of_words else [*text.strip()]
