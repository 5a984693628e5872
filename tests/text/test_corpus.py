"""Raw text from files: read as it is written, or refused with the place."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from pipeline.core.errors import DataError
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.text.corpus import DataSettings, read_corpus
from tests.text.made_corpus import CSV, column, read, settings_of


def test_csv_follows_the_quoting_rules(tmp_path: Path) -> None:
    """Catches a comma, a quote or a line break in a text that shifts its columns."""
    content = 'text,label\n"a, ""b""\nc",pos\nplain,neg\nnull,pos\n'
    corpus = read(tmp_path, {"train.csv": content, "val.csv": content})
    assert column(corpus, "train", "text") == ['a, "b"\nc', "plain", "null"]
    assert column(corpus, "train", "label") == ["pos", "neg", "pos"]
    assert column(corpus, "train", "text_pair") == [None, None, None]


def test_a_quote_in_tsv_is_a_character(tmp_path: Path) -> None:
    """Catches a lone quote, as GLUE has them, that swallows the following rows."""
    content = 'text\tlabel\n"so he said\tpos\n5" screen, "good"\tneg\n'
    corpus = read(tmp_path, {"train.tsv": content, "dev.tsv": content})
    assert column(corpus, "validation", "text") == ['"so he said', '5" screen, "good"']
    assert column(corpus, "validation", "label") == ["pos", "neg"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["007", "1"], ["01", "1"]),
        (["1.50", "2.00"], ["0.10", "0.1"]),
        (["2020-01-01", "2020-01-02"], ["2021-01-01", "2021-01-02"]),
        (["2020-01-01T10:00:00Z", "true"], ["true", "false"]),
        (["null", "NA"], ["NaN", "n/a"]),
    ],
)
def test_texts_and_labels_stay_as_written(
    tmp_path: Path, suffix: str, texts: list[str], labels: list[str]
) -> None:
    """Catches a parser that takes text for numbers, dates or nothing, and `01` for `1`."""
    rows = list(zip(texts, labels, strict=True))
    if suffix == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    else:
        separator = {"csv": ",", "tsv": "\t"}[suffix]
        lines = [separator.join(row) for row in [("text", "label"), *rows]]
    names = (f"train.{suffix}", f"val.{suffix}")
    corpus = read(tmp_path, dict.fromkeys(names, "\n".join(lines) + "\n"))
    assert column(corpus, "train", "text") == texts
    assert column(corpus, "train", "label") == labels


def test_lines_of_plain_text_are_rows(tmp_path: Path) -> None:
    """Catches blank lines as rows, an end of line or a mark of byte order within a text, and
    characters that other readers take for ends of lines."""
    lines = '\ufeffone, "two"\r\n\r\n \t\n = a title = \nsep\u2028arated\x0cand\x85next'
    corpus = read(tmp_path, {"train.csv": CSV, "val.csv": CSV, "unlabelled.txt": lines})
    added = ['one, "two"', " = a title = ", "sep\u2028arated\x0cand\x85next"]
    assert column(corpus, "train", "text")[-3:] == added
    assert column(corpus, "train", "label")[-3:] == [None] * 3


def test_json_lines_keep_types_apart(tmp_path: Path) -> None:
    """Catches a missing label read as a label, or numbers written in another way."""
    lines = '{"text": "a", "label": 10}\n{"text": "b\\nc"}\n{"text": "d", "label": 2}\n'
    corpus = read(tmp_path, {"train.jsonl": lines, "validation.jsonl": lines})
    assert column(corpus, "train", "text") == ["a", "b\nc", "d"]
    assert column(corpus, "train", "label") == ["10", None, "2"]
    assert CLASSIFICATION.label_names(corpus, None) == ["2", "10"], "numbers are in numeric order"


def test_parquet_of_categories_is_text(tmp_path: Path) -> None:
    """Catches a traceback for texts that pandas stored as categories."""
    table = pa.table(
        {
            "text": pa.array(["b", "a", "b"]).dictionary_encode(),
            "label": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    for split in ("train", "validation"):
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    corpus = read_corpus(settings_of(tmp_path), CLASSIFICATION.read)
    assert column(corpus, "train", "text") == ["b", "a", "b"]
    assert CLASSIFICATION.label_names(corpus, None) == ["x", "y"]


def test_named_columns_are_read_as_pairs(tmp_path: Path) -> None:
    """Catches pairs in the wrong order, or columns found by position."""
    content = "label,hypothesis,premise,id\nyes,h1,p1,1\nno,h2,p2,2\n"
    corpus = read(
        tmp_path,
        {"train.csv": content, "val.csv": content},
        columns={"text": "premise", "text_pair": "hypothesis"},
    )
    assert column(corpus, "train", "text") == ["p1", "p2"]
    assert column(corpus, "train", "text_pair") == ["h1", "h2"]
    assert column(corpus, "train", "label") == ["yes", "no"]


def test_every_split_is_found_and_in_order(tmp_path: Path) -> None:
    """Catches a test file that is trained on, or a test without labels that is refused."""
    files = {
        "test.csv": "text\nt\n",
        "dev.csv": "text,label\nv,a\n",
        "train.csv": "text,label\nr,b\n",
        "notes.csv": "text,label\nn,b\n",
    }
    corpus = read(tmp_path, files)
    assert list(corpus) == ["train", "validation", "test"]
    assert [column(corpus, split, "text") for split in corpus] == [["r"], ["v"], ["t"]]
    assert column(corpus, "test", "label") == [None]


def test_validation_is_set_aside_by_text(tmp_path: Path) -> None:
    """Catches a repeated text that is trained on and validated on, and rows that get lost."""
    rows = [f"text {number % 60},{number % 2}" for number in range(180)]
    path = tmp_path / "all.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    corpus = read_corpus(settings_of(path, validation_share=0.3), CLASSIFICATION.read)
    train, validation = (column(corpus, split, "text") for split in ("train", "validation"))
    assert len(train) + len(validation) == 180
    assert not set(train) & set(validation)
    # 60 distinct texts, each set aside with probability 0.3: 18 +- 3.5; this is 3 deviations.
    assert 8 <= len(set(validation)) <= 28
    labels = dict(row.split(",") for row in rows)
    assert column(corpus, "train", "label") == [labels[str(text)] for text in train]


def test_the_rows_set_aside_do_not_depend_on_the_others(tmp_path: Path) -> None:
    """Catches a row that moves from validation to train when rows are added or reordered."""
    lines = CSV.splitlines()
    one = read(tmp_path, {"train.csv": CSV}, validation_share=0.3)
    turned = "\n".join([lines[0], "another text,1", *reversed(lines[1:])])
    other = read(tmp_path, {"train.csv": turned}, validation_share=0.3)
    kept = set(column(one, "validation", "text"))
    assert kept
    assert set(column(other, "validation", "text")) - {"another text"} == kept


def test_max_rows_takes_a_sample_in_order(tmp_path: Path) -> None:
    """Catches the head of a sorted file, whose rows all have one label, and a new draw a run."""
    content = "text,label\n" + "".join(f"{number},{number // 50}\n" for number in range(100))
    files = {"train.csv": content, "val.csv": content}
    corpus = read(tmp_path, files, max_rows={"train": 30, "validation": 1000})
    numbers = [int(str(text)) for text in column(corpus, "train", "text")]
    assert len(numbers) == 30 and len(set(numbers)) == 30
    assert numbers == sorted(numbers)
    assert set(column(corpus, "train", "label")) == {"0", "1"}
    assert len(corpus["validation"]) == 100
    again = read(tmp_path, files, max_rows={"train": 30})
    assert again["train"].equals(corpus["train"])


def test_a_missing_path_says_which_setting(tmp_path: Path) -> None:
    """Catches a bare FileNotFoundError."""
    path = tmp_path / "nowhere"
    with pytest.raises(DataError) as caught:
        read_corpus(settings_of(path), CLASSIFICATION.read)
    assert str(caught.value) == f"{path}: no such file or folder. Set data.path to your data."


def test_a_folder_without_a_training_file_is_refused(tmp_path: Path) -> None:
    """Catches training on nothing, or on the test file."""
    with pytest.raises(DataError, match=r"has no training file\. Put train\.csv\|\.tsv\|"):
        read(tmp_path, {"test.csv": CSV, "train.doc": "text"})


@pytest.mark.parametrize(
    ("names", "split"),
    [(("train.csv", "train.tsv"), "train"), (("valid.csv", "dev.csv"), "validation")],
)
def test_two_files_for_a_split_are_refused(
    tmp_path: Path, names: tuple[str, str], split: str
) -> None:
    """Catches one of two files being silently ignored."""
    with pytest.raises(DataError, match=f"has {names[0]} and {names[1]} for the {split} split"):
        read(tmp_path, dict.fromkeys(("train.csv", *names), CSV))


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    """Catches a KeyError that leaves the user to open the file."""
    message = (
        r"train\.csv \(train\) has no column 'sentence'; it has 'text', 'label'\. "
        r"Set data\.columns\.text\.$"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path, {"train.csv": CSV}, columns={"text": "sentence"})
    with pytest.raises(DataError, match=r"\(validation\) has no column 'label'; it has 'text'\."):
        read(tmp_path, {"train.csv": CSV, "val.csv": "text\na\n"})


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Catches a traceback, or one of two columns being picked."""
    with pytest.raises(DataError, match=r"train\.csv.*'text'"):
        read(tmp_path, {"train.csv": "text,text,label\na,b,1\nc,d,0\n"})


@pytest.mark.parametrize(("blank", "n_blank"), [("", 1), ("  ", 2)])
def test_rows_without_text_are_counted_and_the_first_is_named(
    tmp_path: Path, blank: str, n_blank: int
) -> None:
    """Catches an empty text that becomes [CLS][SEP], and a number that is not the file's row."""
    lines = CSV.splitlines()
    for row in (31, 38)[:n_blank]:
        lines[row] = f"{blank},1"
    message = (
        rf"{n_blank} of 40 rows have no text in column 'text' \(first: row 31\)\. Remove them, "
        r"or set data\.columns\.text to another column\."
    )
    for files in (
        {"train.csv": "\n".join(lines), "val.csv": CSV},
        {"train.csv": "\n".join(lines)},  # validation is set aside
    ):
        (tmp_path / "val.csv").unlink(missing_ok=True)
        with pytest.raises(DataError, match=message):
            read(tmp_path, files)


def test_a_blank_second_text_is_refused(tmp_path: Path) -> None:
    """Catches pairs of which half is missing."""
    content = "text,other,label\na,b,1\nc,,0\n"
    with pytest.raises(
        DataError, match=r"1 of 2 rows have no text in column 'other' \(first: row 2"
    ):
        read(tmp_path, {"train.csv": content, "val.csv": content}, columns={"text_pair": "other"})


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    """Catches an average over nothing, hours later."""
    with pytest.raises(DataError, match="validation has no rows"):
        read(tmp_path, {"train.csv": CSV, "val.csv": "text,label\n"})


@pytest.mark.parametrize("content", [b"PAR1 but nothing else PAR1", b""])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    """Catches a parser's traceback."""
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet cannot be read as PARQUET: ") as caught:
        read_corpus(settings_of(tmp_path), CLASSIFICATION.read)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    """Catches a spreadsheet read as something else."""
    path = tmp_path / "all.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unknown kind of file; use \.csv, \.tsv, \.jsonl, \.par"):
        read_corpus(settings_of(path), CLASSIFICATION.read)


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    """Catches lists of words that are silently turned into text."""
    lines = '{"text": ["a", "b"], "label": 1}\n{"text": ["c"], "label": 0}\n'
    with pytest.raises(DataError, match=r"column 'text' holds list<.*string>, not text or numb"):
        read(tmp_path, {"train.jsonl": lines})


def test_docstrings_are_cut_by_their_own_limit(tmp_path: Path) -> None:
    """Catches a limit meant for the sample corpus that also cuts a user's own files."""
    docstrings = {"libraries": ("jinja2", "zarr"), "max_sentences": {"train": 20}}
    corpus = read_corpus(
        DataSettings.model_validate({"docstrings": docstrings}), CLASSIFICATION.read
    )
    assert len(corpus["train"]) == 20 and len(corpus["validation"]) > 20
    assert set(column(corpus, "train", "label")) == {"jinja2", "zarr"}
    files = read(tmp_path, {"train.csv": CSV, "val.csv": CSV}, docstrings=docstrings)
    assert len(files["train"]) == 40


def test_docstrings_may_be_labelled_in_part() -> None:
    """Catches labels hidden before the limit, or in validation, or all of them."""
    docstrings = {"libraries": ("jinja2", "zarr"), "max_sentences": {"train": 20}}
    whole = read_corpus(
        DataSettings.model_validate({"docstrings": docstrings}), CLASSIFICATION.read
    )
    for_seed = {}
    for seed in (0, 1):
        section = {"docstrings": {**docstrings, "n_labelled": 6, "seed": seed}}
        corpus = read_corpus(DataSettings.model_validate(section), CLASSIFICATION.read)
        labels = column(corpus, "train", "label")
        assert sorted(filter(None, labels)) == 3 * ["jinja2"] + 3 * ["zarr"]
        assert column(corpus, "train", "text") == column(whole, "train", "text")
        assert corpus["validation"] == whole["validation"] and corpus["test"] == whole["test"]
        for_seed[seed] = labels
    assert for_seed[0] != for_seed[1]
    assert None not in column(whole, "train", "label")


def test_a_library_without_a_label_is_refused() -> None:
    """Catches a label that the validation sentences have and no training sentence."""
    docstrings = {"libraries": ("jinja2", "zarr"), "n_labelled": 1}
    with pytest.raises(ValidationError, match=r"n_labelled must be at least 2, .* got 1"):
        DataSettings.model_validate({"docstrings": docstrings})
    DataSettings.model_validate({"docstrings": {**docstrings, "n_labelled": 2}})
