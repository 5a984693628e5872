"""The token table: what was tokenised is what is read, and another folder is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_file, digest_tokenizer, row_key
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.tokens import UNLABELLED, Tokens, open_tokens
from tests.conftest import GOOD, PLAIN

NAMES = ("negative", "positive")
MAX_LENGTH = 8

Row = tuple[str, str | None, str | None]
"""Text, second text, label."""


@pytest.fixture
def write(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[..., Path]:
    """Return a function that writes a token table of rows by split and gives its folder."""

    def write(**splits: list[Row]) -> Path:
        corpus = {
            split: pa.table(
                [pa.array(column, pa.string()) for column in zip(*rows, strict=True)],
                names=["text", "text_pair", "label"],
            )
            for split, rows in splits.items()
        }
        folder = tmp_path_factory.mktemp("tokens")
        write_tokens(corpus, CLASSIFICATION, NAMES, None, Tokenising(tokenizer, MAX_LENGTH), folder)
        return folder

    return write


Words = st.lists(st.sampled_from((*PLAIN, *GOOD, "unheard-of", "Zoë")), min_size=1, max_size=12)
Texts = Words.map(" ".join)
Labels = st.none() | st.sampled_from(NAMES)
Singles = st.lists(st.tuples(Texts, st.none(), Labels), min_size=1, max_size=6)
Pairs = st.lists(st.tuples(Texts, Texts, Labels), min_size=1, max_size=6)


@settings(
    max_examples=25,
    deadline=None,  # the first call of a tokenizer is slower than the others
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `write` keeps no state
)
@given(train=Singles | Pairs, test=Singles | Pairs)
def test_round_trip(
    write: Callable[..., Path], tokenizer: Any, train: list[Row], test: list[Row]
) -> None:
    """Catches ids, labels or texts of one row that are read as another's."""
    tokens = open_tokens(write(train=train, test=test))
    assert list(tokens.splits) == ["train", "test"]
    for name, rows in {"train": train, "test": test}.items():
        split = tokens.splits[name]
        assert len(split) == len(rows)
        for index, (text, pair, label) in enumerate(rows):
            ids, type_ids, _ = split.row(index)
            expected = tokenizer(text, pair, truncation=True, max_length=MAX_LENGTH)
            assert ids.tolist() == expected["input_ids"]
            assert type_ids.tolist() == expected["token_type_ids"]
            assert split.lengths[index] == len(expected["input_ids"])
            assert split.keys[index].tobytes() == row_key(ids, type_ids)
            assert split.labels[index] == (UNLABELLED if label is None else NAMES.index(label))
        assert split.table["text"].to_pylist() == [text for text, _, _ in rows]
        assert split.table["text_pair"].to_pylist() == [pair for _, pair, _ in rows]


TRAIN: list[Row] = [
    ("the film was bright", None, "positive"),
    ("the film " * 4, None, "negative"),  # 8 words and 2 special tokens: cut
    ("the film was a", None, None),
    ("the film was bright", None, "negative"),
    ("a bit " * 3, None, "negative"),  # 6 words and 2 special tokens: just fits
]


def test_the_summary_counts_what_is_there(write: Callable[..., Path], tokenizer: Any) -> None:
    """Catches wrong numbers of cut, labelled or repeated rows, by which users judge their data."""
    folder = write(train=TRAIN, validation=TRAIN[:1])
    summary = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    assert summary["splits"]["train"] == {
        "n_rows": 5,
        "n_distinct": 4,
        "n_labelled": 4,
        "n_truncated": 1,
        "n_tokens": 6 + 8 + 6 + 6 + 8,
        "label_counts": {"negative": 3, "positive": 1},
        "length_histogram": {"0-15": 5},
        "sha256": digest_file(folder / "train.arrow"),
    }
    assert summary["labels"] == list(NAMES)
    assert summary["max_length"] == MAX_LENGTH
    assert summary["tokenizer"] == digest_tokenizer(tokenizer)


def test_unlabelled_rows_are_marked(write: Callable[..., Path]) -> None:
    """Catches an unlabelled row that counts as the first class."""
    tokens = open_tokens(write(train=TRAIN))
    assert UNLABELLED == -1
    assert tokens.splits["train"].labels.tolist() == [1, 0, -1, 0, 0]


def test_both_texts_of_a_long_pair_are_cut(write: Callable[..., Path]) -> None:
    """Catches a second text that is cut away whole, or a pair counted twice."""
    folder = write(train=[("the " * 9, "film " * 9, "positive"), ("the", "film", "negative")])
    split = open_tokens(folder).splits["train"]
    type_ids = split.row(0)[1].tolist()
    assert len(type_ids) == MAX_LENGTH
    assert type_ids.count(1) >= 3  # the second text's share of 5 words, and its separator
    summary = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    assert summary["splits"]["train"]["n_truncated"] == 1


def test_a_second_run_writes_the_same_bytes(write: Callable[..., Path]) -> None:
    """Catches a table, and so everything made from it, that changes with every run."""
    one, other = (write(train=TRAIN, test=TRAIN[:2]) for _ in range(2))
    assert open_tokens(one).digest == open_tokens(other).digest
    names = sorted(path.name for path in one.iterdir())
    assert names == ["test.arrow", "tokens.json", "train.arrow"]
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    "changed",
    [
        [*TRAIN[:4], ("a bit " * 3, None, "positive")],
        [*TRAIN[:4], ("a bit " * 3, None, None)],
        [*TRAIN[:4], ("bit a " * 3, None, "negative")],
        [(text, "the", label) for text, _, label in TRAIN],
        [*TRAIN[1:], TRAIN[0]],
        TRAIN[:4],
    ],
    ids=["label", "unlabelled", "text", "pairs", "order", "fewer"],
)
def test_the_digest_sees_every_change(write: Callable[..., Path], changed: list[Row]) -> None:
    """Catches a student that is not retrained on changed data."""
    digests = {open_tokens(write(train=rows)).digest for rows in (TRAIN, changed)}
    assert len(digests) == 2


def test_keys_of_equal_rows_are_equal(write: Callable[..., Path]) -> None:
    """Catches a repeated text that is computed twice, or a pair joined with a single text."""
    tokens = open_tokens(write(train=TRAIN, test=[("the film", "was bright", None)]))
    keys = [key.tobytes() for key in tokens.splits["train"].keys]
    assert keys[0] == keys[3]
    assert len(set(keys)) == 4
    assert tokens.splits["test"].keys[0].tobytes() not in keys


def test_offsets_are_those_of_rows(write: Callable[..., Path]) -> None:
    """Catches offsets that skip or overlap tokens."""
    split = open_tokens(write(train=TRAIN)).splits["train"]
    assert split.offsets[0] == 0
    assert split.offsets[-1] == len(split.input_ids) == len(split.token_type_ids)
    assert np.array_equal(np.concatenate([split.row(i)[0] for i in range(5)]), split.input_ids)


def edit(folder: Path, **values: object) -> None:
    """Change values in a table's summary."""
    path = folder / "tokens.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(summary | values), encoding="utf-8")


def replace_columns(folder: Path) -> None:
    """Put a readable Arrow file with other columns in place of a split."""
    table = pa.table({"text": ["a"]})
    with (
        pa.OSFile(str(folder / "train.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "tokens.json").unlink(), r"is not a token table"),
        (lambda folder: (folder / "tokens.json").write_text("{"), r"is not a token table"),
        (lambda folder: (folder / "tokens.json").write_text("[]"), r"is not a token table"),
        (lambda folder: (folder / "tokens.json").write_text("{}"), r"token table"),
        (
            lambda folder: edit(folder, format_version=2),
            r"has token table format 2, this version reads 1\. Run 'dvc repro prepare'\.",
        ),
        (lambda folder: edit(folder, splits=None), r"is not a token table"),
        (lambda folder: (folder / "train.arrow").unlink(), r"train\.arrow is missing or damaged"),
        (lambda folder: cut(folder / "train.arrow"), r"train\.arrow is missing or damaged"),
        (
            lambda folder: (folder / "train.arrow").write_bytes(b""),
            r"train\.arrow is missing or damaged",
        ),
        (replace_columns, r"train\.arrow has other columns than a token table"),
    ],
    ids=[
        "no summary",
        "half a summary",
        "a list",
        "nothing in it",
        "another version",
        "no splits",
        "no split",
        "half a split",
        "empty split",
        "other columns",
    ],
)
def test_what_is_no_token_table_is_refused(
    write: Callable[..., Path], damage: Callable[[Path], object], message: str
) -> None:
    """Catches a traceback, or a damaged table that is read as far as it goes."""
    folder = write(train=TRAIN)
    assert isinstance(open_tokens(folder), Tokens)
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_tokens(folder)
    assert str(folder) in str(caught.value)
    assert "dvc repro prepare" in str(caught.value)


def test_a_table_of_another_run_is_refused(write: Callable[..., Path]) -> None:
    """Catches rows of one run under the digest, and so the results, of another."""
    folder, other = write(train=TRAIN), write(train=TRAIN[:3])
    (folder / "train.arrow").write_bytes((other / "train.arrow").read_bytes())
    with pytest.raises(DataError, match=r"train\.arrow"):
        open_tokens(folder)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Catches a traceback for a path that names a file."""
    path = tmp_path / "tokens"
    path.write_text("")
    with pytest.raises(DataError, match="is not a token table"):
        open_tokens(path)
