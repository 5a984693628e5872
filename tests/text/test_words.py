"""Labels of words: each at the first piece of its own word, or gone with it and counted."""

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from pipeline.core.errors import DataError
from pipeline.text.tokens import IGNORED
from tests.text.conftest import Write, tokenised

COLUMNS = {"text": "words", "label": "tags"}
LABELS = ("O", "X", "Y")
_ = IGNORED


def row(words: list[str], tags: list[Any] | None) -> dict[str, Any]:
    """Return a row of words and their tags."""
    return {"words": words, "tags": tags}


TRAIN = [
    row(["the", "films", "was", "smart"], ["O", "X", "O", "Y"]),
    row(["the", "the"], ["Y", "O"]),
]


def labels_of(written: Any, index: int) -> list[int]:
    """Return the labels of a training row, one for each token."""
    split = written.tokens.splits["train"]
    labels = split.labels[split.label_offsets[index] : split.label_offsets[index + 1]].tolist()
    assert len(labels) == split.lengths[index]
    return list(labels)


def test_a_label_stands_at_the_first_piece(write_jsonl: Write) -> None:
    """Catches labels shifted by [CLS] or by a word of two pieces, and two words that are alike."""
    written = write_jsonl("token_classification", TRAIN, columns=COLUMNS)
    assert written.tokens.labels == LABELS
    # [CLS] the film ##s was s ##mart [SEP]
    assert labels_of(written, 0) == [_, 0, 1, _, 0, 2, _, _]
    assert labels_of(written, 1) == [_, 2, 0, _]
    split = written.tokens.splits["train"]
    assert split.table["text"].to_pylist() == ["the films was smart", "the the"]
    assert split.table["text_pair"].null_count == 2
    assert split.n_examples == len(split) == 2


def test_what_is_lost_is_counted(write_jsonl: Write) -> None:
    """Catches a label that moves to the next word, and lost words that nobody hears of."""
    words = ["the", "\u200b", "film", "\x07", *["was"] * 9]
    rows = [row(words, ["O", "X", "Y", "X", *["O"] * 9]), *TRAIN]
    written = write_jsonl("token_classification", rows, max_length=8, columns=COLUMNS)
    assert labels_of(written, 0) == [_, 0, 2, 0, 0, 0, 0, _]
    summary = written.summary["splits"]["train"]
    assert summary["n_words_dropped"] == 2
    assert summary["n_words_cut"] == 5
    assert summary["n_truncated"] == 1
    assert summary["n_rows"] == summary["n_labelled"] == 3
    assert summary["label_counts"] == {"O": 5 + 2 + 1, "X": 1, "Y": 1 + 1 + 1}


def test_words_without_labels_are_marked(write_jsonl: Write) -> None:
    """Catches an unlabelled word that counts as the first class, or that nothing predicts."""
    partly = [row(["the", "films"], ["X", none]) for none in (None, "")]
    rows = [*TRAIN, row(["the", "films"], None), *partly]
    written = write_jsonl("token_classification", rows, columns=COLUMNS)
    assert labels_of(written, 2) == [_, -1, -1, _, _]
    assert labels_of(written, 3) == labels_of(written, 4) == [_, 1, -1, _, _]
    assert written.tokens.labels == LABELS
    assert written.summary["splits"]["train"]["n_labelled"] == 4
    assert len({key.tobytes() for key in written.tokens.splits["train"].keys}) == 3


def test_no_row_needs_labels(write_jsonl: Write) -> None:
    """Catches a source without labels that is refused, though the names are declared."""
    rows = [{"words": ["the", "films"]}]
    columns = {"text": "words", "label": None}
    written = write_jsonl("token_classification", rows, columns=columns, labels=["O", "X"])
    assert labels_of(written, 0) == [_, -1, -1, _, _]
    assert written.summary["splits"]["train"]["n_labelled"] == 0


def test_characters_of_all_kinds_keep_their_label(write_jsonl: Write) -> None:
    """Catches offsets in bytes or in UTF-16, and words turned round with their direction."""
    rows = [row(["😀", "שלום", "film"], ["X", "Y", "O"])]
    written = write_jsonl("token_classification", rows, columns=COLUMNS)
    assert labels_of(written, 0) == [_, 1, 2, 0, _]
    assert written.tokens.splits["train"].table["text"].to_pylist() == ["😀 שלום film"]


def test_numbers_take_their_names_from_the_settings(write_jsonl: Write) -> None:
    """Catches numbers of classes that become names, or that are taken in another order."""
    rows = [row(["the", "film"], [2, 0]), row(["was"], [-1])]
    written = write_jsonl(
        "token_classification",
        rows,
        columns={**COLUMNS, "unlabelled": "-1"},
        labels=["none", "a", "b"],
    )
    assert written.tokens.labels == ("none", "a", "b")
    assert labels_of(written, 0) == [_, 2, 0, _]
    assert labels_of(written, 1) == [_, -1, _]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*TRAIN, row(["a"], ["O", "X"])], r"row 3 has 1 words and 2 labels; each word needs one"),
        ([*TRAIN, row(["a"], [])], r"row 3 has 1 words and 0 labels"),
        ([*TRAIN, row(["a", None], ["O", "O"])], r"row 3 has nothing in the place of one of its w"),  # type: ignore[list-item]
        ([*TRAIN, row([], [])], r"1 of 3 rows have no text in column 'words' \(first: row 3"),
        (
            [{"words": "the film", "tags": ["O"]}],
            r"'words' holds string, but each row needs a list",
        ),
        (
            [{"words": ["film"], "tags": "O"}],
            r"'tags' holds string, but each row needs a list of l",
        ),
    ],
)
def test_rows_that_do_not_fit_are_named(write_jsonl: Write, rows: Any, message: str) -> None:
    """Catches labels that shift to other words, and tracebacks."""
    with pytest.raises(DataError, match=message):
        write_jsonl("token_classification", rows, columns=COLUMNS)


def test_a_label_that_training_lacks(write_jsonl: Write) -> None:
    """Catches a label of the validation rows without a number, or refused though declared."""
    validation = [row(["the", "film"], ["O", "Z"])]
    with pytest.raises(DataError, match=r"validation: unknown label 'Z' \(first in row 1\); known"):
        write_jsonl("token_classification", TRAIN, validation, columns=COLUMNS)
    labels = [*LABELS, "Z"]
    written = write_jsonl("token_classification", TRAIN, validation, columns=COLUMNS, labels=labels)
    assert written.tokens.splits["validation"].labels.tolist() == [_, 0, 3, _]


def test_a_tokenizer_that_glues_words_is_refused() -> None:
    """Catches words read as pieces of one, as byte-level tokenizers do without a prefix space."""
    vocabulary = {"the": 0, "Ġthe": 1, "?": 2}

    def made(*, add_prefix_space: bool) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="?"))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=add_prefix_space)
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?")

    words = {"words": [["the", "the"]], "text": ["the the"]}
    asked = "token_classification", words, [[0, 1]]
    good = tokenised(*asked, made(add_prefix_space=True), 8)
    assert good.rows["label"].to_pylist() == [[0, 1]]
    with pytest.raises(DataError, match="as if there were no spaces between them"):
        tokenised(*asked, made(add_prefix_space=False), 8)
