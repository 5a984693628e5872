"""Multiple choice: every choice behind its question, and the right one found as it is written."""

from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.tasks.choices import with_choice
from tests.text.conftest import Write

KIND = "multiple_choice"
COLUMNS = {"text": "story", "question": "ask", "choices": "options", "label": "answer"}


def row(
    answer: Any, options: list[str], *, ask: str | None = "was it", story: str = "the film"
) -> Any:
    """Return a question."""
    return {"story": story, "ask": ask, "options": options, "answer": answer}


TRAIN = [
    row("B", ["warm", "cold"]),
    row("A", ["dull", "warm", "fresh"], ask="the film was _ ."),
    row(None, ["ugly"]),
]


def test_choices_are_rows_of_their_question(write_jsonl: Write) -> None:
    """Catches choices that come to another question, and a blank that is not filled."""
    written = write_jsonl(KIND, TRAIN, columns=COLUMNS)
    split = written.tokens.splits["train"]
    assert written.tokens.labels == ("choice",)
    assert split.table["text"].to_pylist() == ["the film"] * 6
    assert split.table["text_pair"].to_pylist() == [
        "was it warm",
        "was it cold",
        "the film was dull .",
        "the film was warm .",
        "the film was fresh .",
        "was it ugly",
    ]
    assert split.table["choice"].to_pylist() == [0, 1, 0, 1, 2, 0]
    assert split.labels.tolist() == [0, 1, 1, 0, 0, -1]
    assert split.first_rows.tolist() == [0, 2, 5, 6]
    summary = written.summary["splits"]["train"]
    assert summary["n_rows"] == 6
    assert (summary["n_questions"], summary["n_labelled"]) == (3, 2)
    assert "label_counts" not in summary


def test_only_the_text_is_cut(write_jsonl: Write) -> None:
    """Catches choices that are cut until they are alike."""
    options = ["a bit warm", "a bit cold"]
    rows = [row("A", options, story="the film " * 20), row("A", options, ask=None, story="the")]
    written = write_jsonl(KIND, rows, max_length=10, columns=COLUMNS)
    split = written.tokens.splits["train"]
    assert split.lengths.tolist() == [10, 10, 6 + 1, 6 + 1]
    short = written.tokens.splits["train"].row(2)[0]
    for index in (0, 1):
        ids, type_ids, _ = split.row(index)
        assert type_ids.tolist().count(1) == 5 + 1
        assert ids[-4:].tolist() != split.row(1 - index)[0][-4:].tolist()
    assert split.row(0)[0][-4:].tolist() == short[-4:].tolist()  # a bit warm [SEP]
    summary = written.summary["splits"]["train"]
    assert (summary["n_truncated"], summary["n_choices_cut"]) == (2, 0)


def test_a_choice_longer_than_the_limit_is_cut_and_counted(write_jsonl: Write) -> None:
    """Catches a tokenizer's traceback for one long choice in a hundred thousand."""
    rows = [row("A", ["warm " * 20, "cold"], story="the film was warm")]
    written = write_jsonl(KIND, rows, max_length=8, columns=COLUMNS)
    split = written.tokens.splits["train"]
    assert split.lengths.tolist() == [8, 8]
    summary = written.summary["splits"]["train"]
    assert (summary["n_truncated"], summary["n_choices_cut"]) == (2, 1)


@pytest.mark.parametrize("room", range(4, 12))
def test_every_limit_holds(write_jsonl: Write, room: int) -> None:
    """Catches a row one token too long, or a traceback, where a choice just fits."""
    rows = [row("A", ["a bit warm", "cold"], ask=None, story="the film was " * 3)]
    split = write_jsonl(KIND, rows, max_length=room, columns=COLUMNS).tokens.splits["train"]
    assert split.lengths.max() == room
    whole = room >= 3 + 3 + 1  # [CLS] and two [SEP], the choice, a token of the text
    assert (split.row(0)[1].tolist().count(1) == 4) == whole


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["B", "A", "b"], [1, 0, 1]),
        ([1, 0, 2], [1, 0, 2]),
        (["1", "0", "-1"], [1, 0, -1]),
        (["3", "1", "2"], [2, 0, 1]),  # numbers are the choices themselves where one is too large
        (["2", "1", "0"], [2, 1, 0]),
    ],
)
def test_answers_are_read_in_one_way(
    write_jsonl: Write, answers: list[Any], expected: list[int]
) -> None:
    """Catches the number 1 read as the choice "1" in one row and as the second in another."""
    rows = [row(answer, ["1", "2", "3"]) for answer in answers]
    split = write_jsonl(KIND, rows, columns=COLUMNS).tokens.splits["train"]
    found = [
        part.argmax() if (part := split.labels[first : first + 3]).max() >= 0 else -1
        for first in split.first_rows[:-1]
    ]
    assert found == expected


def named(answer: Any, names: list[Any] | None, *texts: str) -> dict[str, Any]:
    """Return a question whose choices have names, as ARC's have."""
    return {"story": "the film", "answer": answer, "options": {"text": [*texts], "label": names}}


NAMED = {"text": "story", "choices": "options.text", "label": "answer"}


def test_names_of_choices_decide(write_jsonl: Write) -> None:
    """Catches '1' of choices named 1 to 4 read as the second, among questions of letters."""
    rows = [
        named("B", ["A", "B"], "warm", "cold"),
        named("1", ["1", "2", "3"], "warm", "cold", "dull"),
        named("3", ["1", "2", "3"], "1", "2", "3"),
        named(None, ["A"], "warm"),
        named("A", ["B", "A"], "warm", "cold"),
    ]
    validation = [named("2", ["1", "2"], "warm", "cold"), named("-1", ["1", "2"], "a", "bit")]
    splits = write_jsonl(KIND, rows, validation, columns=NAMED).tokens.splits
    assert splits["train"].labels.tolist() == [0, 1, 1, 0, 0, 0, 0, 1, -1, 0, 1]
    assert splits["validation"].labels.tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ((1, 0), ["A", "B"]),  # places, of choices whose names are letters
        (("cold", "warm"), ["A", "B"]),
        ((1, 0), [0, 0]),  # such as which is right
        (("B", "A"), None),
    ],
)
def test_what_names_no_choice_decides_nothing(
    write_jsonl: Write, answers: tuple[Any, Any], names: list[Any] | None
) -> None:
    """Catches questions refused for a part called label that does not say which is right."""
    rows = [named(answer, names, "warm", "cold") for answer in answers]
    split = write_jsonl(KIND, rows, columns=NAMED).tokens.splits["train"]
    assert split.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (named("C", ["A", "B"], "a", "bit"), r"row 2: label 'C' is none .* 'options\.label', A, B"),
        (named("A", ["A"], "a", "bit"), r"row 2 has 2 choices in 'options\.text' and 1 names for"),
    ],
)
def test_names_that_do_not_fit_are_refused(write_jsonl: Write, bad: Any, message: str) -> None:
    """Catches a label read as a letter where the choices have other names."""
    rows = [named("A", ["A", "B"], "warm", "cold"), bad]
    with pytest.raises(DataError, match=message):
        write_jsonl(KIND, rows, columns=NAMED)


def test_an_answer_may_be_the_choice_itself(write_jsonl: Write) -> None:
    """Catches texts refused as labels, and a choice of one letter taken for its place."""
    rows = [row("cold", ["warm", "cold"]), row("a", ["bit", "a"])]
    split = write_jsonl(KIND, rows, columns=COLUMNS).tokens.splits["train"]
    assert split.labels.tolist() == [0, 1, 0, 1]


def test_choices_may_be_their_own_places(write_jsonl: Write) -> None:
    """Catches labels refused as ambiguous though both ways to read them agree."""
    rows = [row("B", ["A", "B"]), row("A", ["A", "B", "C"])]
    split = write_jsonl(KIND, rows, columns=COLUMNS).tokens.splits["train"]
    assert split.labels.tolist() == [0, 1, 1, 0, 0]


def test_columns_of_choices_may_end_early(write_jsonl: Write) -> None:
    """Catches an empty choice, and choices in another order than their columns."""
    rows = [
        {"story": "the", "one": "warm", "two": "cold", "three": "dull", "answer": 2},
        {"story": "the", "one": "warm", "two": "cold", "three": None, "answer": 0},
    ]
    columns = {"text": "story", "choices": ["one", "two", "three"], "label": "answer"}
    split = write_jsonl(KIND, rows, columns=columns).tokens.splits["train"]
    assert split.table["text_pair"].to_pylist() == ["warm", "cold", "dull", "warm", "cold"]
    assert split.labels.tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("A", ["a", "b"]), row("E", ["a", "b"])], r"train: row 2: label 'E' is none of the 2"),
        ([row("A", ["a", "b"]), row("2", ["a", "b"])], r"train: row 2: label '2' is none of the 2"),
        (
            [row("0", ["0", "1"]), row("2", ["2", "0", "1"])],
            r"train: row 2: label '2' may be the place of choice 2 \(from 0\) or the text of "
            r"choice 0, and all labels .* Write them as letters from A",
        ),
        (
            [row(None, ["b", "a"]), row("a", ["b", "a"])],
            r"row 2: label 'a' may be the place of choice 0 .* choice 1, .* as numbers from 0",
        ),
        (
            [row("C", ["a", "b", "c"]), row(None, ["a"]), row("1", ["a", "b", "c"])],
            r"train: row 1: label 'C', train: row 3: label '1': .* may begin at 0 or 1.*letters",
        ),
        (
            [row("A", ["warm", "cold"]), row("warm", ["warm", "cold"])],
            r"train: row 1: label 'A', train: row 2: label 'warm': some labels are letters",
        ),
        (
            [row("1", ["a", "b", "c"]), row("-1", ["a"]), row("3", ["a", "b", "c"])],
            r"row 1: label '1': all labels are numbers, from 1 to 3, and none is 0.*Subtract 1",
        ),
        ([row(2, ["a", "b", "c"])], r"numbers, from 2 to 2, and none is 0"),
        ([row("a a", ["a a", "a a"])], r"row 1: label 'a a' is none of .* as it is written, once"),
        ([row("A", ["a", "b"]), row("A", [])], r"the question of row 2 has no choices"),
        ([row("A", ["a", " "])], r"choice 1 \(from 0\) of the question of row 1 is empty"),
        ([row("A", ["a", "b"], story=" ")], r"1 of 1 rows have no text in column 'story'"),
        (
            [{**row("A", []), "options": "a|b"}],
            r"'options' holds string, but each row needs a list",
        ),
    ],
)
def test_questions_that_cannot_be_answered_are_named(
    write_jsonl: Write, rows: Any, message: str
) -> None:
    """Catches a wrong choice taken as the right one."""
    with pytest.raises(DataError, match=message):
        write_jsonl(KIND, rows, columns=COLUMNS)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (None, "it"),
        ("  ", "it"),
        ("What is it?", "What is it? it"),
        ("_ is good.", "it is good."),
        ("We saw ___ and _.", "We saw it and it."),
        ("We saw_ .", "We sawit ."),
        ("Is snake_case a word?", "Is snake_case a word? it"),
        ("Is snake_case _?", "Is snake_case it?"),
    ],
)
def test_blanks_are_filled(question: str | None, expected: str) -> None:
    """Catches a choice behind a sentence that has a blank, and a blank found within a word."""
    assert with_choice(question, "it") == expected


def test_a_choice_is_no_pattern() -> None:
    """Catches a choice with a backslash that is read as a command of the replacement."""
    assert with_choice("It is _ .", r"\1 \g<0>") == r"It is \1 \g<0> ."
