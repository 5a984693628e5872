"""How the report speaks of each kind of task: the only place of it that knows them.

A further kind needs a record here, and nothing else in the report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.tasks.task import Kind

LONGEST_TEXT = 280
_LONGEST_CHOICE = 60

Row = Mapping[str, Any]
"""One prediction as its file has it: `text`, `text_pair`, `place` and what a kind has besides."""
Names = Sequence[str] | Mapping[int, str]
"""What classes are called, by their numbers."""

TOKENS = ("label_token", "student_token", "teacher_token")
CONFIDENCES = ("student_confidence", "teacher_confidence")


def shorten_line(text: str, n_characters: int = LONGEST_TEXT) -> str:
    """Return a text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= n_characters else line[: n_characters - 1] + "…"


def _whole_text(row: Row, labels: Sequence[str]) -> str:
    text, pair = row["text"], row["text_pair"]
    return shorten_line(text if pair is None else f"{text} ‖ {pair}")


def _label_names(row: Row, labels: Sequence[str], classes: Mapping[str, int]) -> Names:
    return labels


@dataclass(frozen=True)
class Wording:
    """What the report says of predictions of one kind of task."""

    things: str
    """What the predictions are about, in the plural."""
    columns: tuple[str, ...] = ()
    """What the file of predictions has for them besides the columns of all kinds."""
    text_of: Callable[[Row, Sequence[str]], str] = _whole_text
    """The text that a prediction is about, in a line, of its row and the names of all labels."""
    names_of: Callable[[Row, Sequence[str], Mapping[str, int]], Names] = _label_names
    """What a prediction's classes are called. The last argument has the classes of `label`,
    `student` and `teacher`. Numbers, and predictions that name their tokens, have no use for it."""
    same: str = "same label"
    """What it is that both models put first where they agree."""
    note: str = ""
    """What else is to be known to read an example."""
    no_confusions: str = ""
    """Why there is no matrix of confusions; empty where there is one."""
    texts_title: str = ""
    """Heading of the texts that models write or answer with; empty where they do not."""
    texts_are: str = "Texts"
    """What is shown with them."""


def _label_in_question(row: Row, labels: Sequence[str]) -> str:
    return f"{labels[row['place']]}? {_whole_text(row, labels)}"


def _marked_word(row: Row, labels: Sequence[str]) -> str:
    """Return a sentence around one of its words, which stands between angle quotes."""
    words, place = row["text"].split(), row["place"]
    if place >= len(words):
        return shorten_line(" ".join(words))
    before, after = " ".join(words[:place]), " ".join(words[place + 1 :])
    half = LONGEST_TEXT // 2
    if len(before) > half:
        before = "…" + before[1 - half :]
    return " ".join([before, f"»{words[place]}«", shorten_line(after, half)]).strip()


def _choices(row: Row, labels: Sequence[str], classes: Mapping[str, int]) -> Names:
    return [
        shorten_line(choice or f"choice {number}", _LONGEST_CHOICE)
        for number, choice in enumerate(row["choices"], start=1)
    ]


def _tokens_of_span(row: Row, labels: Sequence[str], classes: Mapping[str, int]) -> Names:
    return {number: str(row[f"{who}_token"]) for who, number in classes.items()}


_VOCABULARY = "a vocabulary has too many tokens for a table"
_MARKED = "The token's position stands between angle quotes."

WORDINGS: dict[Kind, Wording] = {
    "classification": Wording("rows"),
    "multi_label": Wording(
        "answers",
        text_of=_label_in_question,
        names_of=lambda row, labels, classes: ("no", "yes"),
        no_confusions="a text may have several labels, so none is taken for another",
    ),
    "regression": Wording(
        "rows", no_confusions="numbers are near or far, and none is taken for another"
    ),
    "token_classification": Wording("words", text_of=_marked_word),
    "multiple_choice": Wording(
        "questions",
        columns=("choices",),
        text_of=lambda row, labels: shorten_line(row["text"]),
        names_of=_choices,
        no_confusions="each question has choices of its own, so there are no labels that all "
        "questions share",
    ),
    "question_answering": Wording(
        "ends of answers",
        columns=TOKENS,
        text_of=_label_in_question,
        names_of=_tokens_of_span,
        no_confusions="an answer begins and ends at tokens of its own text, so there are no "
        "labels that all texts share",
        texts_title="Answers as texts",
        texts_are="Questions",
    ),
    "masked_lm": Wording(
        "tokens",
        columns=(*TOKENS, *CONFIDENCES, "context"),
        text_of=lambda row, labels: shorten_line(row["context"]),
        same="same token",
        note=_MARKED,
        no_confusions=_VOCABULARY,
    ),
    "sequence_to_sequence": Wording(
        "tokens",
        columns=(*TOKENS, *CONFIDENCES, "context"),
        text_of=lambda row, labels: (
            f"{shorten_line(row['text'])} ‖ {' '.join(row['context'].split())}"
        ),
        same="same token",
        note=_MARKED,
        no_confusions=_VOCABULARY,
        texts_title="Texts as they were written",
    ),
}
