"""A user's files in a new project: copied whole, and refused with what to do."""

from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.project.create import sample_tokens
from pipeline.project.data import Request, copy_data, read_data
from pipeline.tasks import TASKS
from pipeline.text.files import read_table
from tests.conftest import make_sentences, make_tokenizer, write_csv


def request(folder: Path, **columns: str) -> Request:
    """Return what `decant new` asks for by default, of these columns."""
    return Request("classification", columns or {"text": "text", "label": "label"}, folder)


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


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_mark_at_the_start_names_the_encoding(
    tmp_path: Path, target: Path, encoding: str
) -> None:
    """Catches files of spreadsheets that `prepare` reads and a new project does not take."""
    source = tmp_path / "reviews.csv"
    source.write_bytes("\ufeffreview,label\n很好,pos\n".encode(encoding))
    copy_data(source, target, "utf-8")
    assert read_table(target / "train.csv").to_pylist() == [{"review": "很好", "label": "pos"}]


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
    data = read_data(target, request(target))
    assert {split: len(table) for split, table in data.corpus.items()} == {
        "train": 20,
        "validation": 20,
        "test": 20,
    }
    assert (data.labels, data.n_labelled) == ("negative (10), positive (10)", 20)


def test_a_single_file_is_split_as_prepare_does(target: Path) -> None:
    """Catches numbers of rows that are not those of the training."""
    write_csv(target / "train.csv", make_sentences(200))
    data = read_data(target, request(target))
    sizes = [len(data.corpus[split]) for split in ("train", "validation")]
    assert sum(sizes) == 200 and 5 < sizes[1] < 40
    assert data.n_labelled == sizes[0]


def test_unlabelled_rows_need_no_label(tmp_path: Path, target: Path) -> None:
    """Catches the file of texts without labels, which `prepare` reads, refused for its columns."""
    for name in ("train.csv", "validation.csv"):
        write_csv(tmp_path / "reviews" / name, make_sentences(20))
    texts = ["text", *(text for text, _ in make_sentences(30, seed=7))]
    (tmp_path / "reviews/unlabelled.csv").write_text("\n".join(texts), encoding="utf-8")
    copy_data(tmp_path / "reviews", target, "utf-8")
    data = read_data(target, request(target))
    assert (len(data.corpus["train"]), data.n_unlabelled_file, data.n_labelled) == (50, 30, 20)
    (target / "unlabelled.csv").write_text("words\nmany\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"unlabelled\.csv has no column 'text' for --text; it has"):
        read_data(target, request(target))


def test_rows_without_any_label_are_refused(target: Path) -> None:
    """Catches a project whose teacher stops, after all texts were prepared, for want of labels."""
    write_csv(target / "train.csv", make_sentences(20))
    write_csv(target / "validation.csv", [(text, "") for text, _ in make_sentences(20)])
    with pytest.raises(DataError, match=r"no row of validation has a label, but a teacher needs"):
        read_data(target, request(target))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"text": "txt", "label": "label"},
            "has no column 'txt' for --text; it has 'text', 'label'. Did you mean 'text'?",
        ),
        ({"text": "text", "label": "x"}, "no column 'x' for --label; it has 'text', 'label'."),
        (
            {"text": "text", "label": "label", "text_pair": "text2"},
            "no column 'text2' for --text-pair; it has 'text', 'label'. Did you mean 'text'?",
        ),
        (
            {"text": "label", "label": "text"},
            "column 'text' has 20 different values among 20 labels of training rows; labels repeat",
        ),
    ],
)
def test_columns_that_do_not_fit(target: Path, columns: dict[str, str], expected: str) -> None:
    """Catches a misspelt column found after the project was written, and texts as labels."""
    texts = [(f"text {number}", label) for number, (_, label) in enumerate(make_sentences(20))]
    for name in ("train.csv", "validation.csv"):
        write_csv(target / name, texts)
    with pytest.raises(DataError) as caught:
        read_data(target, request(target, **columns))
    assert expected in str(caught.value)


def test_unknown_tokens_are_counted(tmp_path: Path, target: Path) -> None:
    """Catches a frame of [CLS] and [SEP] counted as text, which hides the unknown."""
    make_tokenizer(tmp_path / "words")
    rows = [("the film 很", "negative"), ("warm 好 story", "positive")] * 10
    for name in ("train.csv", "validation.csv"):
        write_csv(target / name, rows)
    data = read_data(target, request(target))
    task = TASKS["classification"]
    sample = sample_tokens(data.corpus, task, data.names, None, tmp_path / "words", 64)
    assert sample.n_texts == 20
    (unknown,) = sample.unknown
    assert (unknown.n_unknown, unknown.n_tokens) == (20, 60)
    assert sample.mean_square_length == 25
    assert (sample.rows_per_text, sample.examples_per_text) == (1, 1)
