"""Data of another kind of task than the one that is asked for: refused, and the kind is named."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.project.data import ProjectData, make_request, read_data
from pipeline.tasks.task import Kind

Row = dict[str, Any]
TEXTS = tuple(f"the film number {number} was long" for number in range(60))


def rows_of(make: Callable[[int], Row]) -> list[Row]:
    return [make(number) for number in range(60)]


SCORES = rows_of(lambda n: {"text": TEXTS[n], "label": round(n / 12, 3)})
"""60 different numbers, as similarities have."""
HALVES = rows_of(lambda n: {"text": TEXTS[n], "label": n % 10 / 2})
STARS = rows_of(lambda n: {"text": TEXTS[n], "label": n % 5})
INTENTS = rows_of(lambda n: {"text": TEXTS[n], "label": n % 25})
MOODS = rows_of(lambda n: {"text": TEXTS[n], "label": ("good", "bad")[n % 2]})
TAGS = rows_of(lambda n: {"tokens": TEXTS[n].split(), "ner": ["O"] * 5 + ["B-X"]})
MANY = rows_of(lambda n: {"text": TEXTS[n], "label": ["long", "good"][: 1 + n % 2]})
JOINED = rows_of(lambda n: {"text": TEXTS[n], "label": ("long, good", "good")[n % 2]})
QUESTIONS = rows_of(
    lambda n: {
        "context": TEXTS[n],
        "question": "which film",
        "answers": {"text": ["film"], "answer_start": [4]},
    }
)
STARTS = rows_of(
    lambda n: {
        "context": TEXTS[n],
        "question": "which number",
        "answer": TEXTS[n][9 : 18 + len(str(n))],
        "answer_start": 9,
    }
)
EXAM = rows_of(
    lambda n: {
        "article": TEXTS[n],
        "question": "how long was it",
        "options": ["very", "not", "a bit", "no"],
        "answer": "ABCD"[n % 4],
    }
)
ENDINGS = rows_of(
    lambda n: {"start": TEXTS[n], "ending0": "and good", "ending1": "and bad", "label": n % 2}
)
KEYWORDS = rows_of(
    lambda n: {"text": TEXTS[n], "keywords": ["film", "long", "was"], "label": "AB"[n % 2]}
)
BOOKS = rows_of(lambda n: {"translation": {"de": f"der Film {n}", "en": f"the film {n}"}})
LETTERS = rows_of(lambda n: {"text": TEXTS[n], "label": f"der Film Nummer {n} war lang"})


def read(folder: Path, rows: Sequence[Row], kind: Kind, **columns: Any) -> ProjectData:
    """Read rows as a new project does."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return read_data(folder, make_request(kind, None, columns, None, folder, "utf-8"))


@pytest.mark.parametrize(
    ("rows", "kind", "columns", "expected"),
    [
        (
            SCORES,
            "classification",
            {"text": "text", "label": "label"},
            "train.jsonl: column 'label' holds 60 different numbers, such as 0.083: that is a "
            "regression, not a classification. Use --task regression --text text --label label.",
        ),
        (
            SCORES,
            "multi_label",
            {"text": "text", "label": "label"},
            "a regression, not a multi_label. Use --task regression --text text --label label.",
        ),
        (
            [{**row, "label": number} for number, row in enumerate(SCORES)],
            "classification",
            {"text": "text", "label": "label"},
            "labels repeat. Name another column with --label. Column 'label' holds 60 different "
            "numbers, such as 0. Use --task regression --text text --label label.",
        ),
        (
            MOODS,
            "regression",
            {"text": "text", "label": "label"},
            "Column 'label' holds 2 names, such as 'bad'. Use --task classification --text text ",
        ),
        (
            TAGS,
            "classification",
            {"text": "tokens", "label": "ner"},
            "column 'tokens' holds lists of words, and 'ner' a label for each: that is a "
            "token_classification, not a classification. Use --task token_classification --text "
            "tokens --label ner.",
        ),
        (TAGS, "masked_lm", {"text": "tokens"}, "Use --task token_classification --text tokens"),
        (
            MANY,
            "classification",
            {"text": "text", "label": "label"},
            "column 'label' holds a list of labels for each text: that is a multi_label, not a "
            "classification. Use --task multi_label --text text --label label.",
        ),
        (
            MANY,
            "token_classification",
            {"text": "text", "label": "label"},
            "that is a multi_label, not a token_classification.",
        ),
        (
            QUESTIONS,
            "classification",
            {"text": "context", "label": "answers"},
            "that is a question_answering, not a classification. Use --task question_answering "
            "--text context --question question --label answers.",
        ),
        (
            QUESTIONS,
            "classification",
            {"text": "question", "text_pair": "context", "label": "answers"},
            "Use --task question_answering --text context --question question --label answers.",
        ),
        (
            STARTS,
            "classification",
            {"text": "context", "label": "answer"},
            "Use --task question_answering --text context --question question --label answer "
            "--answer-start answer_start.",
        ),
        (
            EXAM,
            "classification",
            {"text": "article", "label": "answer"},
            "column 'answer' says which of the choices in 'options' is right: that is a "
            "multiple_choice, not a classification. Use --task multiple_choice --text article "
            "--question question --choices options --label answer.",
        ),
        (
            ENDINGS,
            "classification",
            {"text": "start", "label": "label"},
            "Use --task multiple_choice --text start --choices ending0 --choices ending1 --label ",
        ),
        (
            BOOKS,
            "classification",
            {"text": "translation", "label": "translation"},
            "Use --task sequence_to_sequence --text translation.de --target translation.en "
            "--teacher CHECKPOINT.",
        ),
        (
            LETTERS,
            "classification",
            {"text": "text", "label": "label"},
            "Use --task sequence_to_sequence --text text --target label --teacher CHECKPOINT.",
        ),
    ],
)
def test_the_kind_that_fits_is_named(
    tmp_path: Path, rows: Sequence[Row], kind: Kind, columns: dict[str, str], expected: str
) -> None:
    """Catches scores taken for classes, and a refusal from which nobody learns of other tasks."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, rows, kind, **columns)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "kind", "columns"),
    [
        (SCORES, "regression", {"text": "text", "label": "label"}),
        (STARS, "regression", {"text": "text", "label": "label"}),
        (HALVES, "classification", {"text": "text", "label": "label"}),
        (STARS, "classification", {"text": "text", "label": "label"}),
        (MOODS, "classification", {"text": "text", "label": "label"}),
        (MOODS, "masked_lm", {"text": "text"}),
        (SCORES, "masked_lm", {"text": "text"}),
        (MANY, "multi_label", {"text": "text", "label": "label"}),
        (JOINED, "multi_label", {"text": "text", "label": "label"}),
        (JOINED, "classification", {"text": "text", "label": "label"}),
        (TAGS, "token_classification", {"text": "tokens", "label": "ner"}),
        (
            EXAM,
            "multiple_choice",
            {"text": "article", "question": "question", "choices": "options", "label": "answer"},
        ),
        (EXAM, "masked_lm", {"text": "article"}),
        (
            ENDINGS,
            "multiple_choice",
            {"text": "start", "choices": ("ending0", "ending1"), "label": "label"},
        ),
        (KEYWORDS, "classification", {"text": "text", "label": "label"}),
        (
            QUESTIONS,
            "question_answering",
            {"text": "context", "question": "question", "label": "answers"},
        ),
        (
            STARTS,
            "question_answering",
            {
                "text": "context",
                "question": "question",
                "label": "answer",
                "answer_start": "answer_start",
            },
        ),
        (BOOKS, "sequence_to_sequence", {"text": "translation.de", "target": "translation.en"}),
        (LETTERS, "sequence_to_sequence", {"text": "text", "target": "label"}),
        (SCORES, "sequence_to_sequence", {"text": "text", "target": "label"}),
    ],
)
def test_what_fits_is_read_without_a_word(
    tmp_path: Path, rows: Sequence[Row], kind: Kind, columns: dict[str, Any]
) -> None:
    """Catches half stars refused as scores, and a list of keywords taken for choices."""
    data = read(tmp_path, rows, kind, **columns)
    assert data.remark is None and len(data.corpus["train"]) == 60


def test_many_whole_numbers_may_be_either(tmp_path: Path) -> None:
    """Catches numbers of intents that are refused, and ages that become classes without a word."""
    data = read(tmp_path, INTENTS, "classification", text="text", label="label")
    assert data.remark == (
        "column 'label' holds 25 different numbers, such as 0; if these are amounts and no "
        "classes, use --task regression --text text --label label"
    )


def test_other_faults_say_nothing_of_kinds(tmp_path: Path) -> None:
    """Catches a remedy that has nothing to do with the fault."""
    rows = [*INTENTS, {"text": "", "label": 1}]
    with pytest.raises(DataError) as caught:
        read(tmp_path, rows, "classification", text="text", label="label")
    assert "1 of 61 rows have no text" in str(caught.value)
    assert "regression" not in str(caught.value)
