"""The kind of task that a file's columns are written for, so that a refusal can name it.

A guess from types, names and values. It decides alone where columns cannot well be meant
otherwise (`Fit.excludes`); elsewhere it is a remedy behind a fault of the labels.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.project.columns import written
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.text.columns import ColumnSettings
from pipeline.text.source import Source, is_list, is_named

_N_ROWS = 1000
_MOST_CLASSES_OF_NUMBERS = 20
_FEW_WORDS = 3
_CHOICE_LIST = re.compile(r"(choices|options|endings|candidates|alternatives)", re.IGNORECASE)
_CHOICE_COLUMN = re.compile(r"(choice|option|ending|answer|sol)_?([0-9]|[a-h])", re.IGNORECASE)
_CONTEXTS = ("context", "passage", "paragraph", "article")
_STARTS = ("answer_start", "start", "answer_offset")
_KINDS: frozenset[Kind] = frozenset(TASKS)
_OF_CLASSES: frozenset[Kind] = frozenset(("classification", "multi_label"))


@dataclass(frozen=True)
class Fit:
    """A kind of task that the columns of a file fit."""

    kind: Kind
    reason: str
    """What the columns hold."""
    columns: Mapping[str, str | tuple[str, ...]]
    """The columns by the setting of `data.columns` that should name each."""
    excludes: frozenset[Kind] = frozenset()
    """Kinds that these columns cannot be meant for."""

    @property
    def options(self) -> str:
        """The options of `decant new` to use."""
        columns = " ".join(written(name, value) for name, value in self.columns.items())
        teacher = " --teacher CHECKPOINT" if self.kind == "sequence_to_sequence" else ""
        return f"--task {self.kind} {columns}{teacher}"


def find_fit(table: pa.Table, columns: ColumnSettings) -> Fit | None:
    """Return the kind that fits the named columns of the training rows; None: nothing says it."""
    source = Source(table.slice(0, _N_ROWS), "")
    texts = _column(source, columns.text)
    if texts is None:
        return None
    if is_list(texts.type):
        return _of_words(source, columns)
    if pa.types.is_struct(texts.type):
        return _of_translations(texts.type, columns.text)
    label = columns.target or columns.label
    if not isinstance(label, str) or not source.has(label):
        return None
    labels = source.column("label", label)
    named = _named_texts(columns)
    if _is_answers(labels.type):
        question, text = _question_and_text(source, columns)
        found = {"text": text, "question": question, "label": label}
        reason = f"column '{label}' holds answers as SQuAD has them"
        return Fit("question_answering", reason, found, _KINDS - {"question_answering"})
    if is_list(labels.type):
        labelled = {**named, "label": label}
        reason = f"column '{label}' holds a list of labels for each text"
        return Fit("multi_label", reason, labelled, _KINDS - {"multi_label"})
    if pa.types.is_struct(labels.type):
        return None
    choices = _choices(source, label)
    if choices is not None:
        return _of_choices(source, columns, label, choices)
    # All values, for a thousand may be too few to tell numbers from classes.
    return _of_values(Source(table, ""), columns, label)


def _column(source: Source, name: str) -> pa.ChunkedArray | None:
    return source.column("text", name) if source.has(name) else None


def _named_texts(columns: ColumnSettings) -> dict[str, str | tuple[str, ...]]:
    pair = {} if columns.text_pair is None else {"text_pair": columns.text_pair}
    return {"text": columns.text, **pair}


def _of_words(source: Source, columns: ColumnSettings) -> Fit | None:
    """Return the fit of lists of words, if some column has a label for each."""
    words = source.column("text", columns.text)
    named = columns.label if isinstance(columns.label, str) else ""
    for name in dict.fromkeys([named, *reversed(source.table.column_names)]):
        if name == columns.text or not source.has(name):
            continue
        labels = source.column("label", name)
        if is_list(labels.type) and _lengths(labels) == _lengths(words):
            reason = f"column '{columns.text}' holds lists of words, and '{name}' a label for each"
            found = {"text": columns.text, "label": name}
            return Fit("token_classification", reason, found, _KINDS - {"token_classification"})
    return None


def _lengths(lists: pa.ChunkedArray) -> list[int | None]:
    return [None if row is None else len(row) for row in lists.to_pylist()]


def _of_translations(kind: pa.StructType, text: str) -> Fit | None:
    parts = [field.name for field in kind if pa.types.is_string(field.type)]
    if len(parts) < 2:
        return None
    found: dict[str, str | tuple[str, ...]] = {
        "text": f"{text}.{parts[0]}",
        "target": f"{text}.{parts[1]}",
    }
    reason = f"column '{text}' holds texts with the parts {', '.join(parts)}"
    return Fit("sequence_to_sequence", reason, found, _KINDS)


def _is_answers(kind: pa.DataType) -> bool:
    inner = kind.value_type if is_list(kind) else kind
    return pa.types.is_struct(inner) and {"text", "answer_start"} <= {one.name for one in inner}


def _question_and_text(source: Source, columns: ColumnSettings) -> tuple[str, str]:
    """Return the columns with questions and with what they are about."""
    names = source.table.column_names
    question = columns.question or ("question" if "question" in names else "COLUMN")
    others = [name for name in (columns.text, columns.text_pair) if name not in (None, question)]
    contexts = [name for name in _CONTEXTS if name in names]
    return question, str([*others, *contexts, "COLUMN"][0])


def _choices(source: Source, label: str) -> str | tuple[str, ...] | None:
    """Return the column of lists, or the columns, that the labels say the right one of."""
    table = source.table
    lists = [name for name in table.column_names if _CHOICE_LIST.fullmatch(name)]
    several = tuple(name for name in table.column_names if _CHOICE_COLUMN.fullmatch(name))
    candidates: list[str | tuple[str, ...]] = [*lists, *(f"{name}.text" for name in lists)]
    if len(several) > 1 and label not in several:
        candidates.append(several)
    for found in candidates:
        try:
            if isinstance(found, str):
                rows = source.lists("choices", found, "choices").to_pylist()
            else:
                held = [source.strings("choices", name).to_pylist() for name in found]
                rows = list(zip(*held, strict=True))
            labels = source.strings("label", label).to_pylist()
        except DataError:
            continue
        labelled = [pair for pair in zip(labels, rows, strict=True) if pair[0] and pair[1]]
        if labelled and all(_says_which(*pair) for pair in labelled):
            return found
    return None


def _says_which(label: str, choices: Sequence[str]) -> bool:
    """Say whether a label is a choice, or its place as a letter or a number from 0 or 1."""
    if label in choices:
        return True
    if label.isascii() and label.isdecimal():
        return int(label) <= len(choices)
    is_letter = len(label) == 1 and label.isascii() and label.isalpha()
    return is_letter and ord(label.upper()) - ord("A") < len(choices)


def _of_choices(
    source: Source, columns: ColumnSettings, label: str, choices: str | tuple[str, ...]
) -> Fit:
    found: dict[str, str | tuple[str, ...]] = {"text": columns.text}
    if columns.text != "question" and "question" in source.table.column_names:
        found["question"] = "question"
    found |= {"choices": choices, "label": label}
    names = f"'{choices}'" if isinstance(choices, str) else ", ".join(f"'{one}'" for one in choices)
    reason = f"column '{label}' says which of the choices in {names} is right"
    return Fit("multiple_choice", reason, found, _OF_CLASSES)


def _of_values(source: Source, columns: ColumnSettings, label: str) -> Fit | None:
    """Return the fit of labels that are texts or numbers."""
    column = source.column("label", label)
    try:
        values = [value for value in source.strings("label", label).to_pylist() if value]
    except DataError:
        return None
    different = sorted(set(values))
    if len(different) < 2:
        return None
    named = _named_texts(columns)
    numbers = [] if is_named(column.type) else [_number(value) for value in different]
    rarely_repeat = len(different) > len(values) / 2
    if numbers and None not in numbers:
        is_fraction = any(number != int(number) for number in numbers if number is not None)
        many = len(different) > _MOST_CLASSES_OF_NUMBERS
        if not (many or rarely_repeat):
            return None
        example = next(
            (one for one in different if (number := _number(one)) and number != int(number)),
            different[0],
        )
        reason = f"column '{label}' holds {len(different):,} different numbers, such as {example}"
        excludes = _OF_CLASSES if is_fraction and many else frozenset[Kind]()
        return Fit("regression", reason, {**named, "label": label}, excludes)
    if any(number is not None for number in numbers):
        return None
    if not rarely_repeat:
        reason = f"column '{label}' holds {len(different):,} names, such as '{different[0]}'"
        return Fit("classification", reason, {**named, "label": label})
    answers = _answers(source, columns, label)
    if answers is not None:
        return answers
    if sum(len(value.split()) for value in values) / len(values) < _FEW_WORDS:
        return None
    reason = f"column '{label}' holds a text of its own for nearly every row"
    return Fit("sequence_to_sequence", reason, {"text": columns.text, "target": label})


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _answers(source: Source, columns: ColumnSettings, label: str) -> Fit | None:
    """Return the fit of texts that stand in other texts, at the character that a column says."""
    question, text = _question_and_text(source, columns)
    for start in _STARTS:
        if not (source.has(start) and source.has(text) and source.has(question)):
            continue
        rows = zip(*(_texts(source, name) for name in (text, label, start)), strict=True)
        given = [row for row in rows if row[1] and row[2] is not None]
        if given and all(_stands_at(*row) for row in given):
            found = {"text": text, "question": question, "label": label, "answer_start": start}
            reason = f"column '{label}' holds parts of the texts in '{text}', at '{start}'"
            return Fit("question_answering", reason, found)
    return None


def _texts(source: Source, name: str) -> list[Any]:
    return list(source.strings("text", name).to_pylist())


def _stands_at(text: str, answer: str, start: str) -> bool:
    number = _number(start)
    return number is not None and text[int(number) :].startswith(answer)
