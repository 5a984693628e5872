"""Data of another kind of task: refused with the name of the kind that reads it."""

from typing import Any

import pytest

from pipeline.core.errors import DataError
from tests.text.conftest import Write

WORDS = {"text": ["the", "film"], "label": ["O", "B-A"]}
LABELS = {"text": "the film", "label": ["a", "b"]}
ONE = {"text": "the film", "label": "a"}
ANSWERS = {"text": "the film", "label": {"text": ["film"], "answer_start": [4]}}


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("name", WORDS, r"'text' holds list<.*task\.kind: token_classification"),
        ("name", LABELS, r"'label' holds list<.*task\.kind: multi_label"),
        ("name", ANSWERS, r"'label' holds struct<.*task\.kind: question_answering"),
        ("name", {**ONE, "text": {"de": "a", "en": "b"}}, r"'text' holds struct<.*'text\.de'"),
        ("name", {**ONE, "label": [{"text": "film", "answer_start": 4}]}, r"question_answering"),
        ("number", LABELS, r"'label' holds list<.*task\.kind: multi_label"),
        ("number", ONE, r"the label of row 1 is 'a'.*task\.kind: classification"),
        ("names", WORDS, r"'text' holds list<.*task\.kind: token_classification"),
        ("word_names", ONE, r"'text' holds string, but each row .*task\.kind: classification"),
        ("word_names", {**WORDS, "label": "a"}, r"'label' holds string, .*kind: classification"),
    ],
)
def test_the_kind_that_fits_is_named(write_jsonl: Write, kind: Any, row: Any, message: str) -> None:
    """Catches a message that only says what a column holds, to who chose the wrong kind."""
    with pytest.raises(DataError, match=message):
        write_jsonl(kind, [row] * 2)


def test_data_of_its_own_kind_is_read(write_jsonl: Write) -> None:
    """Catches a shape refused that a kind of task reads."""
    write_jsonl("name", [ONE, {**ONE, "label": "b"}, {**ONE, "label": None}])
    write_jsonl("names", [LABELS])
    write_jsonl("names", [{**ONE, "label": "a,b"}])
    write_jsonl("word_names", [WORDS, {**WORDS, "label": None}])
    write_jsonl("number", [{**ONE, "label": 1.5}])
    columns = {"text": "text.de", "label": "label.is"}
    parts = [{"text": {"de": "the", "en": "a"}, "label": {"is": label}} for label in "ab"]
    write_jsonl("name", parts, columns=columns)
