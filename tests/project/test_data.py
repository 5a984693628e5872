"""A user's files in a new project: copied whole, and refused with what to do."""

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.project.data import Columns, copy_data, read_data
from pipeline.project.sample import sample_tokens
from pipeline.text.files import read_table
from tests.conftest import make_sentences, make_tokenizer, write_csv

COLUMNS = Columns("text", "label")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-8-sig"])
def test_encodings_become_utf_8(tmp_path: Path, target: Path, encoding: str) -> None:
    """Catches texts that come out as other characters, and line ends within them that change."""
    text = 'review,label\n"很好,\r\n真的",pos\n不好,neg\n'
    source = tmp_path / "reviews.CSV"
    source.write_bytes(text.encode(encoding))
    copy_data(source, target, encoding)
    assert [path.name for path in target.iterdir()] == ["train.csv"]
    table = read_table(target / "train.csv")
    assert table.column_names == ["review", "label"]
    assert table["review"].to_pylist() == ["很好,\r\n真的", "不好"]


def test_a_wrong_encoding_is_refused(tmp_path: Path, target: Path) -> None:
    """Catches texts silently read as other characters, and a traceback."""
    source = tmp_path / "reviews.csv"
    source.write_bytes("很好".encode("gb18030"))
    with pytest.raises(DataError, match=r"reviews\.csv is not text in utf-8 .* --encoding gb18030"):
        copy_data(source, target, "utf-8")
    with pytest.raises(DataError, match=r"absent\.csv: no such file or folder\. Give --data"):
        copy_data(tmp_path / "absent.csv", target, "utf-8")


def test_of_a_folder_the_splits_are_copied(tmp_path: Path, target: Path) -> None:
    """Catches a test file left behind, and a folder of other things taken along."""
    for name in ("train.csv", "dev.csv", "test.csv", "notes.csv"):
        write_csv(tmp_path / "reviews" / name, make_sentences(20))
    copy_data(tmp_path / "reviews", target, "utf-8")
    assert sorted(path.name for path in target.iterdir()) == ["dev.csv", "test.csv", "train.csv"]
    data = read_data(target, COLUMNS)
    assert {split: len(table) for split, table in data.corpus.items()} == {
        "train": 20,
        "validation": 20,
        "test": 20,
    }
    assert data.label_counts == {"negative": 10, "positive": 10}


def test_a_single_file_is_split_as_prepare_does(target: Path) -> None:
    """Catches numbers of rows that are not those of the training."""
    write_csv(target / "train.csv", make_sentences(200))
    data = read_data(target, COLUMNS)
    sizes = [len(data.corpus[split]) for split in ("train", "validation")]
    assert sum(sizes) == 200 and 5 < sizes[1] < 40
    assert sum(data.label_counts.values()) == sizes[0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (Columns("txt", "label"), "no column 'txt' for --text; did you mean 'text'? It has text, "),
        (Columns("text", "x"), "no column 'x' for --label; It has text, label."),
        (Columns("text", "label", "text2"), "no column 'text2' for --text-pair; did you mean"),
        (Columns("label", "text"), "column 'text' has 20 different values in the 20 training rows"),
    ],
)
def test_columns_that_do_not_fit(target: Path, columns: Columns, expected: str) -> None:
    """Catches a misspelt column found after the project was written, and texts as labels."""
    texts = [(f"text {number}", label) for number, (_, label) in enumerate(make_sentences(20))]
    for name in ("train.csv", "validation.csv"):
        write_csv(target / name, texts)
    with pytest.raises(DataError) as caught:
        read_data(target, columns)
    assert expected in str(caught.value)


def test_unknown_tokens_are_counted(tmp_path: Path, target: Path) -> None:
    """Catches a frame of [CLS] and [SEP] counted as text, which hides the unknown."""
    from pipeline.core.checkpoint import load_tokenizer

    make_tokenizer(tmp_path / "words")
    rows = [("the film 很", "negative"), ("warm 好 story", "positive")] * 10
    for name in ("train.csv", "validation.csv"):
        write_csv(target / name, rows)
    train = read_data(target, COLUMNS).corpus["train"]
    sample = sample_tokens(train, load_tokenizer(tmp_path / "words"), 64)
    assert sample.n_texts == 20
    assert sample.unknown_share == pytest.approx(1 / 3)
    assert sample.mean_square_length == 25
