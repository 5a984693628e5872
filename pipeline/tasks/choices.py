"""Multiple choice: which choice is right, and the question and each choice as one text."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.columns import ColumnSettings
from pipeline.text.source import Source, is_list
from pipeline.text.tokens import UNLABELLED

_BLANK = re.compile("_+")

_GIVE_NAMES = (
    "Where the choices have names, keep them beside the choices, as 'choices.label' beside "
    "'choices.text'."
)

_Pair = tuple[str | None, Sequence[str]]
"""A label and the choices of its question."""
_Labelled = tuple[str, str, Sequence[str]]
"""Where a label is, the label, and the choices of its question."""
_Reading = Callable[[str, Sequence[str]], int | None]
"""A label and the choices of its question to the position of the right choice, if it has one."""


def read_choices(source: Source, columns: ColumnSettings) -> pa.Array:
    """Return the choices of each question; columns may end before the choices of others do.

    Raises:
        DataError: a question without choices, or with an empty one.
    """
    theirs = columns.choices
    assert theirs is not None
    if isinstance(theirs, str):
        rows = source.lists("choices", theirs, "choices").to_pylist()
    else:
        held = [source.strings("choices", column).to_pylist() for column in theirs]
        rows = [_without_end(list(row)) for row in zip(*held, strict=True)]
    for number, row in enumerate(rows, start=1):
        if not row:
            raise DataError(f"{source.place}: the question of row {number} has no choices")
        for choice, text in enumerate(row):
            if text is None or not text.strip():
                raise DataError(
                    f"{source.place}: choice {choice} (from 0) of the question of row {number} "
                    "is empty. Correct it, or remove the row."
                )
    return pa.array(rows, pa.list_(pa.string()))


def _without_end(row: list[str | None]) -> list[str | None]:
    while row and not (row[-1] or "").strip():
        row.pop()
    return row


def named_choices(source: Source, column: str, labels: Any) -> Any:
    """Return the position of the right choice of each row, where the choices have names.

    They have some where `column` is a part of a column with another part, `label`, whose lists
    hold as many names as there are choices, as ARC's do. `labels` are returned as they are
    without one, and where no label is such a name.

    Raises:
        DataError: a row has more or fewer names than choices, or a label is none of its names.
    """
    whole, _, part = column.rpartition(".")
    names_column = f"{whole}.label"
    if not whole or part == "label" or not source.has(names_column):
        return labels
    if not is_list(source.column("choices", names_column).type):
        return labels
    names = source.lists("choices", names_column, "names of choices").to_pylist()
    if any(held is not None and len({*held}) < len(held) for held in names):
        return labels  # such as 1 for the right choice and 0 for the others
    choices = source.lists("choices", column, "choices").to_pylist()
    found = [
        label if label is not None and _is_label(label) else None for label in labels.to_pylist()
    ]
    if not any(label in (held or ()) for label, held in zip(found, names, strict=True)):
        return labels  # which say in another way which choice is right
    positions: list[int | None] = []
    for row, (label, held, texts) in enumerate(zip(found, names, choices, strict=True), start=1):
        if label is None:
            positions.append(None)
            continue
        own, n_choices = held or [], len(texts or [])
        if len(own) != n_choices:
            raise DataError(
                f"{source.place}: row {row} has {n_choices} choices in '{column}' and {len(own)} "
                f"names for them in '{names_column}'. Correct it, or remove the row."
            )
        if label not in own:
            raise DataError(
                f"{source.place}: row {row}: label '{label}' is none of the names of its choices "
                f"in '{names_column}', {', '.join(own)}. Correct it, or remove the row."
            )
        positions.append(own.index(label))
    return pa.array(positions, pa.int64())


def right_choices(corpus: dict[str, pa.Table]) -> dict[str, pa.Array]:
    """Return the position of the right choice of each question, by split.

    A label is a position where the choices have names (`named_choices`). Else it is a letter from
    A, a number from 0, or the choice itself; all labels are read in the way that reads every one.
    A label of -1 is none.

    Raises:
        DataError: a label that says which choice is right in none of these ways, labels that do
            so in different ways, that all do in two ways which differ, or numbers of which none
            is 0.
    """
    found, pairs = {}, {}
    for split, table in corpus.items():
        labels = table["label"].combine_chunks()
        if pa.types.is_integer(labels.type):
            found[split] = labels.fill_null(UNLABELLED)
        else:
            pairs[split] = [*zip(labels.to_pylist(), table["choices"].to_pylist(), strict=True)]
    read = _reading(pairs)
    for split, rows in pairs.items():
        positions = [
            UNLABELLED if label is None or not _is_label(label) else read(label, choices)
            for label, choices in rows
        ]
        found[split] = pa.array(positions, pa.int64())
    return {split: found[split] for split in corpus}


def _reading(pairs: Mapping[str, Sequence[_Pair]]) -> _Reading:
    """Return the way to read all labels of all splits."""
    labelled = [
        (f"{split}: row {row}", label, choices)
        for split, rows in pairs.items()
        for row, (label, choices) in enumerate(rows, start=1)
        if label is not None and _is_label(label)
    ]
    fitting = [
        read for read in _READINGS if all(read(one[1], one[2]) is not None for one in labelled)
    ]
    _check_agree(labelled, fitting)
    if labelled and _by_text not in fitting:
        _check_zero(labelled)
    if not fitting:
        _refuse(labelled)
    return fitting[0]


def _check_zero(labelled: Sequence[_Labelled]) -> None:
    """Refuse numbers of which none is 0: nobody knows whether they begin at 1."""
    numbers = [int(label) for _, label, _ in labelled if label.isascii() and label.isdecimal()]
    if len(numbers) == len(labelled) and min(numbers) > 0:
        place, label, _ = labelled[0]
        raise DataError(
            f"{place}: label '{label}': all labels are numbers, from {min(numbers)} to "
            f"{max(numbers)}, and none is 0, but the first choice is 0. Subtract 1 where they "
            f"begin at 1, or write letters from A. {_GIVE_NAMES}"
        )


def _refuse(labelled: Sequence[_Labelled]) -> NoReturn:
    """Raise the error of labels that cannot all be read in one way."""
    for place, label, choices in labelled:
        if all(read(label, choices) is None for read in _READINGS):
            raise DataError(
                f"{place}: label '{label}' is none of the {len(choices)} choices. It needs a "
                "letter from A, a number from 0, or the choice as it is written, once. Correct "
                "it, or set data.columns.label to another column, or data.columns.unlabelled to "
                "what says that there is none."
            )
    first, label, choices = labelled[0]
    read = next(read for read in _READINGS if read(label, choices) is not None)
    other, second, _ = next(one for one in labelled if read(one[1], one[2]) is None)
    raise DataError(
        f"{first}: label '{label}', {other}: label '{second}': some labels are letters, numbers or "
        "choices, and others are not, so that a number may begin at 0 or 1. Write all as letters "
        f"from A, all as numbers from 0, or all as the choices. {_GIVE_NAMES}"
    )


def _check_agree(labelled: Sequence[_Labelled], fitting: Sequence[_Reading]) -> None:
    """Refuse labels of which nobody can say whether they are places or the choices themselves."""
    for place, label, choices in labelled:
        places = [read(label, choices) for read in fitting]
        if len({*places}) > 1:
            others = "numbers from 0" if label.isalpha() else "letters from A"
            raise DataError(
                f"{place}: label '{label}' may be the place of choice {places[0]} (from 0) or the "
                f"text of choice {places[1]}, and all labels can be read in both ways. Write them "
                f"as {others}."
            )


def _is_label(label: str | None) -> bool:
    return label is not None and label != str(UNLABELLED)


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
