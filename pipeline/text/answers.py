"""Answers that stand in the texts they are about, as SQuAD has them.

Source: Rajpurkar et al. 2016, 1606.05250; for questions without an answer Rajpurkar et al.
2018, 1806.03822.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.column_settings import ColumnSettings
from pipeline.text.list_texts import KEEP_LISTS, is_list_text
from pipeline.text.source import Source, is_list

ANSWERS = pa.list_(pa.struct({"text": pa.string(), "start": pa.int64()}))
"""All right answers to a question: each a text, and its first character's place in the other
text, from 0. Null where nobody says."""

_N_CHARACTERS_SHOWN = 40


def read_answers(source: Source, columns: ColumnSettings, texts: Sequence[str | None]) -> pa.Array:
    """Return the answers of each row, of type `ANSWERS`; `texts` are what they stand in.

    Of two columns, one with the text and one with the place, an answer without text is none,
    except for a place of -1, which says that the question has no answer.

    Raises:
        DataError: a column holds something else, or an answer is not where it should be.
    """
    assert isinstance(columns.label, str)
    if columns.answer_start is None:
        found = _of_structs(source, columns.label)
    else:
        found = _of_two_columns(source, columns.label, columns.answer_start)
    for number, (text, answers) in enumerate(zip(texts, found, strict=True), start=1):
        for answer in answers or ():
            _check(answer, text or "", f"{source.place}: row {number}")
    return pa.array(found, ANSWERS)


def _of_structs(source: Source, column: str) -> list[list[dict[str, Any]] | None]:
    values = source.column("label", column)
    kind = values.type.value_type if is_list(values.type) else values.type
    names = [field.name for field in kind] if pa.types.is_struct(kind) else []
    if not pa.types.is_null(kind) and not {"text", "answer_start"} <= {*names}:
        raise DataError(
            f"{source.place}, column '{column}' holds {values.type}, but each row needs the lists "
            "'text' and 'answer_start', as SQuAD has them, in Parquet or JSON lines. Where the "
            "answer's text and place are columns, name them as data.columns.label and "
            "data.columns.answer_start."
        )
    found: list[list[dict[str, Any]] | None] = []
    for number, row in enumerate(values.to_pylist(), start=1):
        if row is None or isinstance(row, list):
            answers = row and [{"text": one["text"], "start": one["answer_start"]} for one in row]
        else:
            given, starts = row["text"] or [], row["answer_start"] or []
            if len(given) != len(starts):
                raise DataError(
                    f"{source.place}: row {number} has {len(given)} answers and {len(starts)} "
                    "places for them. Correct it, or remove the row."
                )
            pairs = zip(given, starts, strict=True)
            answers = [{"text": text, "start": start} for text, start in pairs]
        found.append(answers)
    return found


def _of_two_columns(source: Source, column: str, place: str) -> list[list[dict[str, Any]] | None]:
    texts = source.strings("label", column).to_pylist()
    numbers = source.strings("answer_start", place).to_pylist()
    found: list[list[dict[str, Any]] | None] = []
    for row, (text, number) in enumerate(zip(texts, numbers, strict=True), start=1):
        try:
            start = int(float(number)) if number else None
        except (ValueError, OverflowError):
            remedy = KEEP_LISTS if is_list_text(number) else "Correct it, or remove the row"
            raise DataError(
                f"{source.place}: row {row} has '{number}' in column '{place}', which needs the "
                f"number of a character. {remedy}."
            ) from None
        if text:
            found.append([{"text": text, "start": start}])
        else:
            found.append([] if start == -1 else None)
    return found


def _check(answer: dict[str, Any], text: str, place: str) -> None:
    """Refuse an answer that is blank, or is not in the text where it should be."""
    said, start = answer["text"] or "", answer["start"]
    if not said.strip():
        raise DataError(f"{place} has an answer without text. Correct it, or remove the row.")
    if start is None or start < 0 or text[start : start + len(said)] != said:
        found = "" if start is None else text[max(0, start) : max(0, start) + len(said)]
        raise DataError(
            f"{place}: the answer '{_shorten(said)}' is not at character {start} of its text, "
            f"where '{_shorten(found)}' stands. Characters are counted from 0, not in bytes; "
            "correct it, or remove the row."
        )


def _shorten(text: str) -> str:
    short = text[:_N_CHARACTERS_SHOWN]
    return short if short == text else f"{short}…"
