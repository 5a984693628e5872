"""Multiple choice: which choice is right, and the question and each choice as one text."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.tokens import UNLABELLED

_BLANK = re.compile("_+")

_Reading = Callable[[str, Sequence[str]], int | None]
"""A label and the choices of its question to the position of the right choice, if it has one."""


def right_choices(corpus: dict[str, pa.Table]) -> dict[str, pa.Array]:
    """Return the position of the right choice of each question, by split.

    A label is a letter from A, a number from 0, or the choice itself. All labels are read in
    the way that reads every one; where none does, each in the first that reads it. A label of
    -1 is none.

    Raises:
        DataError: a label that says which choice is right in none of these ways, or labels that
            all do in two ways which differ.
    """
    pairs = {
        split: list(zip(table["label"].to_pylist(), table["choices"].to_pylist(), strict=True))
        for split, table in corpus.items()
    }
    labelled = [pair for pair in chain(*pairs.values()) if _is_label(pair[0])]
    fitting = [read for read in _READINGS if all(read(*pair) is not None for pair in labelled)]
    _check_agree(pairs, fitting)
    readings = fitting[:1] or _READINGS
    return {
        split: pa.array(
            [
                _position(label, choices, readings, f"{split}: row {row}")
                for row, (label, choices) in enumerate(rows, start=1)
            ],
            pa.int64(),
        )
        for split, rows in pairs.items()
    }


def _check_agree(
    pairs: Mapping[str, Sequence[tuple[str | None, Sequence[str]]]], fitting: Sequence[_Reading]
) -> None:
    """Refuse labels of which nobody can say whether they are places or the choices themselves."""
    for split, rows in pairs.items():
        for row, (label, choices) in enumerate(rows, start=1):
            if label is None or not _is_label(label):
                continue
            places = [read(label, choices) for read in fitting]
            if len({*places}) > 1:
                others = "numbers from 0" if label.isalpha() else "letters from A"
                raise DataError(
                    f"{split}: row {row}: label '{label}' may be the place of choice {places[0]} "
                    f"(from 0) or the text of choice {places[1]}, and all labels can be read in "
                    f"both ways. Write them as {others}."
                )


def _is_label(label: str | None) -> bool:
    return label is not None and label != str(UNLABELLED)


def _position(
    label: str | None, choices: Sequence[str], readings: Sequence[_Reading], place: str
) -> int:
    if label is None or not _is_label(label):
        return UNLABELLED
    for read in readings:
        position = read(label, choices)
        if position is not None:
            return position
    raise DataError(
        f"{place}: label '{label}' is none of the {len(choices)} choices. It needs a letter from "
        "A, a number from 0, or the choice as it is written, once. Correct it, or set "
        "data.columns.label to another column."
    )


def _by_letter(label: str, choices: Sequence[str]) -> int | None:
    is_letter = len(label) == 1 and label.isascii() and label.isalpha()
    position = ord(label.upper()) - ord("A") if is_letter else len(choices)
    return position if position < len(choices) else None


def _by_number(label: str, choices: Sequence[str]) -> int | None:
    position = int(label) if label.isascii() and label.isdecimal() else len(choices)
    return position if position < len(choices) else None


def _by_text(label: str, choices: Sequence[str]) -> int | None:
    return choices.index(label) if choices.count(label) == 1 else None


_READINGS: tuple[_Reading, ...] = (_by_letter, _by_number, _by_text)


def with_choice(question: str | None, choice: str) -> str:
    """Return a choice behind its question, or in the question's blanks if it has some.

    A blank is a run of underscores that is not within a word, as RACE has them.
    """
    if question is None or not question.strip():
        return choice

    def fill(blank: re.Match[str]) -> str:
        before, after = question[: blank.start()][-1:], question[blank.end() :][:1]
        return blank[0] if before.isalnum() and after.isalnum() else choice

    filled = _BLANK.sub(fill, question)
    return filled if filled != question else f"{question} {choice}"
