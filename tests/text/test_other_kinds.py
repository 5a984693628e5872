"""Data of another kind of task: refused with the name of the kind that reads it."""

from typing import Any

import pytest

from pipeline.core.errors import DataError
from tests.text.conftest import Write

PLAIN, TAGS = "classification", "token_classification"
WORDS = {"text": ["the", "film"], "label": ["O", "B-A"]}
LABELS = {"text": "the film", "label": ["a", "b"]}
ONE = {"text": "the film", "label": "a"}
ANSWERS = {"text": "the film", "label": {"text": ["film"], "answer_start": [4]}}


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (PLAIN, WORDS, r"'text' holds list<.*task\.kind: token_classification"),
        (PLAIN, LABELS, r"'label' holds list<.*task\.kind: multi_label"),
        (PLAIN, ANSWERS, r"'label' holds struct<.*task\.kind: question_answering"),
        (
            "classification",
            {**ONE, "text": {"de": "a", "en": "b"}},
            r"'text' holds struct<.*'text\.de'",
        ),
        (
            "classification",
            {**ONE, "label": [{"text": "film", "answer_start": 4}]},
            r"question_answering",
        ),
        ("regression", LABELS, r"'label' holds list<.*task\.kind: multi_label"),
        ("regression", ONE, r"the label of row 1 is 'a'.*task\.kind: classification"),
        ("multi_label", WORDS, r"'text' holds list<.*task\.kind: token_classification"),
        (
            "token_classification",
            ONE,
            r"'text' holds string, but each row .*task\.kind: classification",
        ),
        (
            "token_classification",
            {**WORDS, "label": "a"},
            r"'label' holds string, .*kind: classification",
        ),
    ],
)
def test_the_kind_that_fits_is_named(write_jsonl: Write, kind: Any, row: Any, message: str) -> None:
    """Catches a message that only says what a column holds, to who chose the wrong kind."""
    with pytest.raises(DataError, match=message):
        write_jsonl(kind, [row] * 2)


def test_data_of_its_own_kind_is_read(write_jsonl: Write) -> None:
    """Catches a shape refused that a kind of task reads."""
    write_jsonl("classification", [ONE, {**ONE, "label": "b"}, {**ONE, "label": None}])
    write_jsonl("multi_label", [LABELS])
    write_jsonl("multi_label", [{**ONE, "label": "a,b"}])
    write_jsonl("token_classification", [WORDS, {**WORDS, "label": None}])
    write_jsonl("regression", [{**ONE, "label": 1.5}])
    columns = {"text": "text.de", "label": "label.is"}
    parts = [{"text": {"de": "the", "en": "a"}, "label": {"is": label}} for label in "ab"]
    write_jsonl("classification", parts, columns=columns)
