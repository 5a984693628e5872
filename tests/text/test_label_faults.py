"""Labels that would be other classes than their user means: refused, and their neighbours read."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.tasks import TASKS
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.label_faults import is_joined_list, is_list_text
from pipeline.text.corpus import read_corpus
from tests.text import made_corpus
from tests.text.conftest import Write
from tests.text.made_corpus import settings_of

NAMED = {"negative": "negative", "positive": "positive"}


def csv_of(labels: list[str]) -> str:
    """Return a CSV file with a row for each label."""
    return "text,label\n" + "".join(f'the film,"{label}"\n' for label in labels)


def encode(
    folder: Path, train: list[str], validation: list[str] | None = None, **data: Any
) -> tuple[list[str], list[int]]:
    """Return the names of the labels of CSV files, and the numbers of the training rows."""
    splits = {"train": train, "validation": train if validation is None else validation}
    files = {f"{split}.csv": csv_of(labels) for split, labels in splits.items()}
    corpus = made_corpus.read(folder, files, **data)
    mapping = settings_of(folder, **data).names_by_value
    names = CLASSIFICATION.label_names(corpus, mapping)
    return names, CLASSIFICATION.encode(corpus, names, mapping)["train"].to_pylist()


@pytest.mark.parametrize(
    "other",
    [
        "negative ",
        " negative",
        "negative\u00a0",
        "nega\u200btive",
        "ｎｅｇａｔｉｖｅ",
        "negative\ufe0f",
    ],
)
def test_labels_that_look_alike_are_one_or_refused(tmp_path: Path, other: str) -> None:
    """Catches a class of its own for labels with a blank or a character that nobody sees."""
    labels = ["negative", "positive", other, "negative", other]
    with pytest.raises(DataError) as caught:
        encode(tmp_path, labels)
    assert "(2 rows, the first is row 1)" in str(caught.value)
    assert "(2 rows, the first is row 3)" in str(caught.value)
    assert "two classes. Write them alike, or name every label under data.labels" in str(
        caught.value
    )
    names, numbers = encode(tmp_path, labels, labels=NAMED | {other: "negative"})
    assert (names, numbers) == (["negative", "positive"], [0, 1, 0, 0, 0])


def test_what_differs_in_a_message_is_seen(tmp_path: Path) -> None:
    """Catches a message that names the same label twice."""
    labels = [unicodedata.normalize(form, "né") for form in ("NFC", "NFD")]
    with pytest.raises(DataError, match=r"labels 'ne\\u0301' .* and 'n\\xe9' "):
        encode(tmp_path, labels)


@pytest.mark.parametrize("other", ["Negative", "negatives", "neg ative", "negativé"])
def test_labels_that_a_reader_tells_apart_are_two(tmp_path: Path, other: str) -> None:
    """Catches labels refused that differ in case, in a letter or in an accent."""
    assert len(encode(tmp_path, ["negative", other])[0]) == 2


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (["negative", "positive"], ["positive "], r"1 labels are 'positive ', which differs from"),
        (["0", "1"], ["1.0", "0", "1.0"], r"2 labels are '1\.0', which differs from '1' only in"),
        (["negative", "positive"], ["Positive"], r"'Positive' is written 'positive' elsewhere"),
        (["0", "1"], ["-1", "-1"], r"unknown label '-1'.* data\.columns\.unlabelled to \"-1\""),
        (["no", "yes"], ["nan"], r"unknown label 'nan'.* data\.columns\.unlabelled to \"nan\""),
        (["0.5", "1.5"], ["0.5", "0.75"], r"unknown label '0\.75'.* task\.kind: regression"),
        (["a", "b"], [f"c{n}" for n in range(30)], r"and 25 more .* 30 different .*sequence_to_se"),
    ],
)
def test_unknown_labels_come_with_what_they_may_be(
    tmp_path: Path, train: list[str], validation: list[str], message: str
) -> None:
    """Catches a message that sends its reader to correct data that only needs a setting."""
    with pytest.raises(DataError, match=message):
        encode(tmp_path, train, validation)
    encode(tmp_path, train, train[:1])


def test_names_of_other_data_are_to_be_taken_out(tmp_path: Path) -> None:
    """Catches numbers listed as labels, and advice to correct data that is right."""
    names = ("O", "B-PER", "I-PER")
    with pytest.raises(DataError) as caught:
        encode(tmp_path, ["O", "B-film", "I-film"], labels=names)
    assert str(caught.value) == (
        "train: unknown label 'B-film', 'I-film' (first in row 2); known labels: O, B-PER, I-PER, "
        "or their numbers, 0 to 2. Name the labels that the data has under data.labels, or take "
        "data.labels out to use those of the training split; or correct the data."
    )
    assert encode(tmp_path, ["O", "1", "I-PER"], labels=names)[1] == [0, 1, 2]


@pytest.mark.parametrize("mark", ["nan", "NaN", "None", "NULL", "NA", "<NA>", "N/A", "\u200b"])
def test_what_tables_write_for_nothing_is_no_class(tmp_path: Path, mark: str) -> None:
    """Catches a class of the rows that nobody labelled, and Namibia refused though it is named."""
    labels = ["no", "yes", mark, "no"]
    with pytest.raises(DataError, match=r"train: the label .* \(1 rows, the first is row 3\) is w"):
        encode(tmp_path, labels)
    assert encode(tmp_path, labels, columns={"unlabelled": mark}) == (["no", "yes"], [0, 1, -1, 0])
    named = {"no": "no", "yes": "yes", mark: mark}
    assert encode(tmp_path, labels, labels=named)[1] == [0, 1, 2, 0]


def test_other_names_of_nothing_are_classes(tmp_path: Path) -> None:
    """Catches stances and kinds called none refused."""
    assert encode(tmp_path, ["none", "NONE", "null value", "na"])[0] == [
        "NONE",
        "na",
        "none",
        "null value",
    ]


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (["-1", "0", "1", "2"], None),
        (["-1.0", "0.0", "1.0", "2.0"], None),
        (["-100", "0", "1"], None),
        (["-1", "0", "1"], ["0", "1"]),  # a scale would be in both
        (["-1", "-1", "-1", "0", "1"], None),  # most of the rows
        (["-1", "no", "yes"], None),
    ],
)
def test_minus_one_is_no_class_beside_others(
    tmp_path: Path, train: list[str], validation: list[str] | None
) -> None:
    """Catches rows that nobody labelled learned as a class of their own."""
    mark = train[0]
    with pytest.raises(DataError, match=rf"'{mark}' beside .*unlabelled to \"{mark}\"; if it is a"):
        encode(tmp_path, train, validation)
    names, numbers = encode(tmp_path, train, validation, columns={"unlabelled": mark})
    assert mark not in names and numbers[0] == -1
    named = {value: f"class {value}" for value in train}
    assert len(encode(tmp_path, train, validation, labels=named)[0]) == len({*train})


@pytest.mark.parametrize(
    "labels", [["-1", "0", "1"], ["-1", "1"], ["-2", "-1", "0", "1", "2"], ["-1", "1", "2"]]
)
def test_minus_one_is_a_class_of_a_scale(tmp_path: Path, labels: list[str]) -> None:
    """Catches negative, neutral and positive refused, or read as two classes."""
    assert encode(tmp_path, labels)[0] == labels


def test_many_numbers_are_scores(tmp_path: Path) -> None:
    """Catches a class for each number, and ratings in halves or numbered classes refused."""
    with pytest.raises(DataError, match=r"are 30 different numbers .*0\.01\..*task\.kind: regress"):
        encode(tmp_path, [f"{number / 100}" for number in range(30)])
    assert len(encode(tmp_path, [f"{number / 2}" for number in range(1, 11)])[0]) == 10
    assert len(encode(tmp_path, [f"{number}" for number in range(100)])[0]) == 100


LISTS = [
    "['joy', 'anger']",
    "[3 27]",
    "[27]",
    "[]",
    '[""a""]',
    "('joy',)",
    "{'joy': 1}",
    "array([3, 27])",
    "array(['joy'], dtype=object)",
    "[0. 1.5\n 1e-3]",
    "[[1, 2], [3]]",
    "['joy' None]",
]


@pytest.mark.parametrize("text", LISTS)
def test_lists_that_became_text_are_no_label(tmp_path: Path, text: str) -> None:
    """Catches `['joy'` and `'anger']` as two labels, and `[3 27]` as one."""
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text(csv_of([text, text]), encoding="utf-8")
    for separator in (",", "|"):
        settings = settings_of(tmp_path, columns={"label_separator": separator})
        with pytest.raises(DataError, match=r"row 1 has .*became text\. Keep lists in JSON lines"):
            read_corpus(settings, TASKS["multi_label"].read)
    with pytest.raises(DataError, match=r"is a list that became text.*task\.kind: multi_label"):
        encode(tmp_path, [text, "['joy']" if "'" in text or '"' in text else "[1 2]"])


def test_names_in_brackets_are_names(tmp_path: Path) -> None:
    """Catches `[unk]` and ranges of ages refused as lists."""
    for labels in (["[cls]", "[unk]"], ["(1)", "(2)"], ["[0, 10]", "[11, 20]"], ["[1]", "a"]):
        assert encode(tmp_path, labels)[0] == labels
    assert not is_list_text("[joy, anger]") and is_joined_list("[joy, anger]", ",")
    assert not is_joined_list("[unk]", ",") and not is_joined_list("[a], [b]", ",")
    assert not is_joined_list("sad (mild, acute)", ",")


@pytest.mark.parametrize("kind", ["multi_label", "token_classification"])
def test_labels_in_lists_are_checked_too(write_jsonl: Write, kind: Any) -> None:
    """Catches two classes of one, where a row has several labels or each word has one."""
    for labels, message in {
        ("a", "b", "b "): r"labels 'b' \(2 rows, the first is row 1\) and 'b ' \(2 rows",
        ("a", "b", "nan"): r"the label 'nan' \(2 rows, the first is row 1\)",
        ("a", "b", "['c']"): r"\[\\?'c'\].* became text",
    }.items():
        text: Any = ["the", "film", "was"] if kind == "token_classification" else "the film"
        rows = [{"text": text, "label": [*labels]}] * 2
        with pytest.raises(DataError, match=message):
            write_jsonl(kind, rows)
    write_jsonl(kind, [{"text": text, "label": ["a", "b", "B"]}])
