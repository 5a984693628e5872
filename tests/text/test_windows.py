"""Questions about texts: the answer's tokens in every window, and faults named with their row."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.core.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokenise import TokenisedTexts
from pipeline.text.tokens import TokenSplit
from tests.conftest import make_tokenizer
from tests.text.conftest import Write, tokenised

KIND = "question_answering"
COLUMNS = {"text": "context", "question": "ask", "label": "answers"}
LONG = "the film was a bit warm and the plot was dull"
"""Eleven tokens, of which "bit warm" are the fifth and the sixth."""


def row(context: str, *answers: str, ask: str = "was it", **changed: Any) -> dict[str, Any]:
    """Return a question, each answer at its first place in the context."""
    starts = [context.index(answer) for answer in answers]
    given = {"text": list(answers), "answer_start": starts}
    return {"context": context, "ask": ask, "answers": given, **changed}


def windows_of(texts: list[str], answers: list[Any], tokenizer: Any) -> TokenisedTexts:
    """Return the windows of at most 10 tokens, the first of which is row 8 of train."""
    columns = {"question": ["was it"] * len(texts), "text": texts}
    kind = "question_answering"
    return tokenised(kind, columns, answers, tokenizer, 10, stride=2, first_row=8)


def labels_of(split: TokenSplit) -> list[list[int]]:
    return [[int(first), int(last)] for first, last in split.labels.reshape(-1, 2)]


def text_between(split: TokenSplit, index: int, first: int, last: int) -> str:
    """Return what a row's text has from one of its tokens to another."""
    columns = split.table.slice(index, 1).to_pylist()[0]
    text: str = columns["text_pair"]
    return text[columns["char_starts"][first] : columns["char_ends"][last]]


def test_a_short_text_is_one_window(write_jsonl: Write) -> None:
    """Catches an answer shifted by the question, a second answer taken for the first."""
    rows = [row("the film was warm", "warm", "film was"), row("a plot", "a plot")]
    written = write_jsonl(KIND, rows, columns=COLUMNS)
    split = written.tokens.splits["train"]
    assert written.tokens.labels == ("start", "end")
    # [CLS] was it [SEP] the film was warm [SEP]
    assert labels_of(split) == [[7, 7], [4, 5]]
    assert split.table["text"].to_pylist() == ["was it"] * 2
    assert split.table["text_pair"].to_pylist() == ["the film was warm", "a plot"]
    assert split.row(0)[1].tolist() == [0] * 4 + [1] * 5
    columns = split.table.slice(0, 1).to_pylist()[0]
    assert columns["char_starts"] == [-1] * 4 + [0, 4, 9, 13] + [-1]
    assert columns["char_ends"] == [-1] * 4 + [3, 8, 12, 17] + [-1]
    assert columns["answers"] == ["warm", "film was"]
    assert split.first_rows.tolist() == [0, 1, 2]
    summary = written.summary["splits"]["train"]
    assert (summary["n_questions"], summary["n_labelled"]) == (2, 2)
    assert (summary["n_unanswerable"], summary["n_answers_lost"]) == (0, 0)


def test_a_long_text_is_several_windows(write_jsonl: Write) -> None:
    """Catches a part of the text that is in no window, and an answer given where it is not."""
    rows = [row(LONG, "bit warm"), row(LONG, "dull")]
    split = write_jsonl(KIND, rows, max_length=10, columns=COLUMNS).tokens.splits["train"]
    # Five tokens of the text in each window, of which it shares two, the half, with the next.
    assert split.table["window"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert split.lengths.max() == 10
    cut = [text_between(split, index, 4, int(split.lengths[index]) - 2) for index in range(3)]
    assert cut == ["the film was a bit", "a bit warm and the", "and the plot was dull"]
    # "bit warm" is cut by the first window, in the second, and outside of the third.
    assert labels_of(split) == [[0, 0], [5, 6], [0, 0], [0, 0], [0, 0], [8, 8]]
    assert text_between(split, 1, 5, 6) == "bit warm"
    assert split.has_label.all()


def test_an_answer_in_no_window_is_counted(write_jsonl: Write) -> None:
    """Catches answers longer than windows share that are lost and nobody hears of."""
    rows = [row(LONG, "was a bit warm"), row(LONG, "plot")]
    written = write_jsonl(KIND, rows, max_length=10, columns=COLUMNS)
    assert labels_of(written.tokens.splits["train"])[:3] == [[0, 0]] * 3
    assert written.summary["splits"]["train"]["n_answers_lost"] == 1


def test_unanswerable_is_not_unlabelled(write_jsonl: Write) -> None:
    """Catches questions without an answer that are left out, or unlabelled ones learned from."""
    rows = [row("the film", "film"), row("the film"), row("the film", answers=None)]
    written = write_jsonl(KIND, rows, columns=COLUMNS)
    split = written.tokens.splits["train"]
    assert labels_of(split) == [[5, 5], [0, 0], [-1, -1]]
    assert split.has_label.tolist() == [True, True, False]
    assert split.table["answers"].to_pylist() == [["film"], [], None]
    summary = written.summary["splits"]["train"]
    assert (summary["n_questions"], summary["n_labelled"]) == (3, 2)
    assert summary["n_unanswerable"] == 1


@pytest.mark.parametrize(
    ("context", "answer", "expected"),
    [
        ("😀 was 😀 film", "film", [7, 7]),
        ("שלום film שלום", "film", [5, 5]),
        ("film שלום", "שלום", [5, 5]),
        ("the films was", "film", [5, 5]),  # film ##s
        ("the films was", "films", [5, 6]),
        ("the films was", "ilm", [5, 5]),  # no token begins there
        ("the film was", " film ", [5, 5]),
        ("\u200b the film", "\u200b", [0, 0]),  # the tokenizer leaves nothing of it
        ("\u200bthe film\u200b", "the film\u200b", [4, 5]),
    ],
)
def test_characters_are_counted_as_characters(
    write_jsonl: Write, context: str, answer: str, expected: list[int]
) -> None:
    """Catches places in bytes or UTF-16, and answers that begin within a token."""
    split = write_jsonl(KIND, [row(context, answer)], columns=COLUMNS).tokens.splits["train"]
    assert labels_of(split) == [expected]


def test_answers_in_two_columns(write_jsonl: Write) -> None:
    """Catches CSV-like answers read otherwise than SQuAD's."""
    columns = {**COLUMNS, "label": "answer", "answer_start": "at"}
    rows = [
        {"context": "the film", "ask": "was it", "answer": "film", "at": 4},
        {"context": "the film", "ask": "was it", "answer": None, "at": -1},
        {"context": "the film", "ask": "was it", "answer": None, "at": None},
    ]
    split = write_jsonl(KIND, rows, columns=columns).tokens.splits["train"]
    assert labels_of(split) == [[5, 5], [0, 0], [-1, -1]]


def test_answers_may_be_a_list_of_pairs(write_jsonl: Write) -> None:
    """Catches the other shape in which the Hub has lists of texts and places refused."""
    answers = [{"text": "film", "answer_start": 4}, {"text": "the", "answer_start": 0}]
    split = write_jsonl(KIND, [row("the film", answers=answers)], columns=COLUMNS).tokens.splits[
        "train"
    ]
    assert labels_of(split) == [[5, 5]]
    assert split.table["answers"].to_pylist() == [["film", "the"]]


GOOD = row("the film", "film")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            row("the film", answers={"text": ["film"], "answer_start": [5]}),
            r"\(train\): row 2: the answer 'film' is not at character 5 of its text, where 'ilm' s",
        ),
        (
            row("the film", answers={"text": ["film"], "answer_start": [-1]}),
            r"row 2: the answer 'film' is not at character -1",
        ),
        (
            row("😀 film", answers={"text": ["film"], "answer_start": [5]}),  # bytes
            r"row 2: the answer 'film' is not at character 5 .* not in bytes",
        ),
        (
            row("the film", answers={"text": ["film", "the"], "answer_start": [4]}),
            r"row 2 has 2 answers and 1 places",
        ),
        (row("the film", answers={"text": [" "], "answer_start": [3]}), r"row 2 has an answer wit"),
        (row("the film", "film", ask=" "), r"row 2 has no question"),
        (row("the film", "film", ask="was it " * 7), r"train: the question of row 2 is 14 tokens"),
    ],
)
def test_rows_that_cannot_be_answered_are_named(
    write_jsonl: Write, bad: dict[str, Any], message: str
) -> None:
    """Catches a wrong span learned in silence, and a tokenizer's panic over a long question."""
    with pytest.raises(DataError, match=message):
        write_jsonl(KIND, [GOOD, bad], columns=COLUMNS)


def test_predictions_of_another_shape_are_refused(write_jsonl: Write) -> None:
    """Catches a traceback for a column of mere texts, and for places that are no numbers."""
    mere = {"context": "the film", "ask": "was it", "answer": "film", "at": "4x"}
    with pytest.raises(DataError, match=r"'answer' holds string, but .* data.columns.answer_start"):
        write_jsonl(KIND, [mere], columns={**COLUMNS, "label": "answer"})
    columns = {**COLUMNS, "label": "answer", "answer_start": "at"}
    with pytest.raises(DataError, match=r"row 1 has '4x' in column 'at', .*number.*Correct it"):
        write_jsonl(KIND, [mere], columns=columns)
    with pytest.raises(DataError, match=r"has '\[4\]' in column 'at', .* Keep lists in JSON lines"):
        write_jsonl(KIND, [{**mere, "at": "[4]"}], columns=columns)


@pytest.mark.parametrize("max_length", range(7, 18))
def test_every_token_of_the_text_is_in_a_window(write_jsonl: Write, max_length: int) -> None:
    """Catches a gap between windows, or one too long, where the question leaves little room."""
    written = write_jsonl(
        KIND, [row(LONG, "plot")], max_length=max_length, columns=COLUMNS, stride=3
    )
    split = written.tokens.splits["train"]
    assert split.lengths.max() <= max_length
    columns = split.table.select(["char_starts", "char_ends"]).to_pylist()
    seen = {
        pair
        for window in columns
        for pair in zip(window["char_starts"], window["char_ends"], strict=True)
    }
    assert len(seen - {(-1, -1)}) == len(LONG.split())
    found = {text_between(split, i, *ends) for i, ends in enumerate(labels_of(split)) if ends[0]}
    assert found == {"plot"}


@pytest.mark.parametrize("side", ["truncation_side", "padding_side"])
def test_windows_do_not_depend_on_the_sides_of_a_tokenizer(tmp_path: Path, side: str) -> None:
    """Catches windows from the end of the text to its beginning, which lose its answers."""
    make_tokenizer(tmp_path, tuple(dict.fromkeys(f"{LONG} it".split())))
    answers = [[{"text": "dull", "start": LONG.index("dull")}]]
    right = windows_of([LONG], answers, load_tokenizer(tmp_path))
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {side: "left"}
    path.write_text(json.dumps(config), encoding="utf-8")
    left = windows_of([LONG], answers, load_tokenizer(tmp_path))
    assert left.rows.equals(right.rows) and len(right.rows) == 3
    assert right.rows["label"].to_pylist() == [[0, 0], [0, 0], [8, 8]]
    assert left.counts == {"n_answers_lost": 0}


def test_windows_reach_the_ends_of_the_text(pieces: Any) -> None:
    """Catches windows in another order, with the ends of the text between them."""
    windows_of([LONG], [None], pieces)
    other = copy.deepcopy(pieces)
    other.truncation_side = "left"
    with pytest.raises(
        DataError, match=rf"train: row 8: its windows cover .* tokens are at 0 to {len(LONG)}: "
    ):
        windows_of([LONG], [None], other)
    windows_of(["the film"], [None], other)


def test_validation_is_set_aside_by_the_text(tmp_path: Path) -> None:
    """Catches questions about one text on both sides, whose answers are then known."""
    contexts = [f"text {number} the film" for number in range(40)]
    rows = [row(context, "film", ask=ask) for context in contexts for ask in ("was it", "a bit")]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    section = {"source": "files", "path": str(path), "columns": COLUMNS}
    corpus = read_corpus(
        parse_section(DataSettings, section, "data"), TASKS["question_answering"].read
    )
    ours, theirs = (set(corpus[split]["text"].to_pylist()) for split in ("train", "validation"))
    assert ours
    assert theirs
    assert not ours & theirs
