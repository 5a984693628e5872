"""The table of variants: which rows are kept, how they are labelled, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError, SettingsError
from pipeline.tasks import task_of
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.augment import AugmentationSettings, augment, variants
from pipeline.text.tokens import UNLABELLED, Tokens, open_tokens
from tests.conftest import make_sentences, make_tokenizer
from tests.text.test_augment import MASK, SENTENCE, drawn

NAMES = ("negative", "positive")

Rows = list[tuple[str, str | None, str | None]]
"""Text, second text, label."""


@pytest.fixture
def table(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[..., Tokens]:
    """Return a function that gives the token table of rows by split."""

    def table(**splits: Rows) -> Tokens:
        corpus = {
            split: pa.table(
                [pa.array(column, pa.string()) for column in zip(*rows, strict=True)],
                names=["text", "text_pair", "label"],
            )
            for split, rows in splits.items()
        }
        folder = tmp_path_factory.mktemp("tokens")
        write_tokens(corpus, CLASSIFICATION, NAMES, None, Tokenising(tokenizer, 32), folder)
        return open_tokens(folder)

    return table


@pytest.fixture
def augmented(tmp_path: Path, tokenizer: Any) -> Callable[..., Tokens]:
    """Return a function that gives the table of the variants of another."""

    def augmented(tokens: Tokens, settings: AugmentationSettings) -> Tokens:
        folder = tmp_path / f"augmented_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        augment(tokens, task_of(tokens), tokenizer, settings, folder)
        return open_tokens(folder, made_by="augment")

    return augmented


def labelled(*texts: str) -> Rows:
    """Return rows of single texts."""
    return [(text, None, "positive") for text in texts]


def keys(tokens: Tokens) -> list[bytes]:
    """Return the keys of all rows."""
    return [key.tobytes() for split in tokens.splits.values() for key in split.keys]


def test_the_table_holds_new_unlabelled_rows(
    table: Callable[..., Tokens], augmented: Callable[..., Tokens], tokenizer: Any
) -> None:
    """Catches a test text in training, rows that are computed twice, and made-up labels."""
    tokens = table(
        train=[*labelled(SENTENCE, SENTENCE, "the film was warm"), ("a bit", None, None)],
        validation=labelled("film", "the film", "a"),
        test=labelled("the [MASK]", "was warm", MASK),
    )
    variants_of = augmented(tokens, drawn(n_copies=300))
    assert list(variants_of.splits) == ["train"]
    split = variants_of.splits["train"]
    found = keys(variants_of)
    assert len(found) == len(set(found)) > 50
    assert not set(found) & set(keys(tokens))
    everything = variants(("the film was warm", None), drawn(n_copies=300), MASK)
    assert {("film", None), ("the film", None), ("was warm", None)} < set(everything)
    assert set(split.labels.tolist()) == {UNLABELLED}
    for index in range(len(split)):
        expected = tokenizer(split.table["text"][index].as_py())["input_ids"]
        assert split.row(index)[0].tolist() == expected
    assert split.table["text_pair"].null_count == len(split)
    assert any(tokenizer.mask_token_id in split.row(index)[0] for index in range(len(split)))
    assert variants_of.source == tokens.digest != variants_of.digest
    assert (variants_of.labels, variants_of.tokenizer, variants_of.max_length) == (
        tokens.labels,
        tokens.tokenizer,
        tokens.max_length,
    )


def test_variants_do_not_depend_on_other_rows(
    table: Callable[..., Tokens], augmented: Callable[..., Tokens]
) -> None:
    """Catches 5% more data that changes every variant, and so costs a whole capture."""
    sentences = [text for text, _ in make_sentences(30, seed=3)]
    some = augmented(table(train=labelled(*sentences[:10])), drawn(n_copies=5))
    all_reversed = augmented(table(train=labelled(*sentences[::-1])), drawn(n_copies=5))
    texts = set(some.splits["train"].table["text"].to_pylist())
    assert len(texts) > 20
    assert texts < set(all_reversed.splits["train"].table["text"].to_pylist())


def test_pairs_in_a_table(table: Callable[..., Tokens], augmented: Callable[..., Tokens]) -> None:
    """Catches pairs whose second text is lost on the way to the tokens."""
    tokens = table(train=[(SENTENCE, "the story was stale", "negative")])
    split = augmented(tokens, drawn()).splits["train"]
    assert len(split) > 10
    seconds = split.table["text_pair"].to_pylist()
    assert "the story was stale" in seconds and len(set(seconds)) > 3
    assert all(1 in split.row(index)[1] for index in range(len(split)))


def test_no_copies_is_a_table_without_rows(
    table: Callable[..., Tokens], augmented: Callable[..., Tokens]
) -> None:
    """Catches an empty table that its own reader refuses."""
    tokens = table(train=labelled(SENTENCE))
    empty = augmented(tokens, AugmentationSettings())
    split = empty.splits["train"]
    assert len(split) == len(split.lengths) == len(split.table) == len(split.labels) == 0
    assert split.offsets.tolist() == [0] and split.keys.dtype == "V16"
    assert empty.source == tokens.digest


def test_the_summary_counts_what_was_kept(
    table: Callable[..., Tokens], tokenizer: Any, tmp_path: Path
) -> None:
    """Catches cut texts that are counted though they were dropped."""
    tokens = table(train=labelled("film " * 40, "the film"))
    settings = drawn(n_copies=10, n_gram_probability=0.0)
    summary = augment(tokens, task_of(tokens), tokenizer, settings, tmp_path)
    assert json.loads((tmp_path / "tokens.json").read_text(encoding="utf-8")) == summary
    counts = summary["splits"]["train"]
    split = open_tokens(tmp_path).splits["train"]
    n_long = sum(len(text.split()) == 40 for text in split.table["text"].to_pylist())
    assert 5 < counts["n_truncated"] == n_long < counts["n_rows"]
    assert counts["n_labelled"] == 0


def test_a_tokenizer_without_mask_token(
    table: Callable[..., Tokens], tokenizer: Any, tmp_path: Path
) -> None:
    """Catches the word 'None' in the texts, or a refusal where nothing is masked."""
    tokens = table(train=labelled(SENTENCE))
    tokenizer = load_tokenizer_without_mask(tmp_path / "tokenizer")
    (tmp_path / "a").mkdir()
    with pytest.raises(SettingsError, match=r"mask_probability: .* has no mask token; set it to 0"):
        augment(tokens, task_of(tokens), tokenizer, drawn(), tmp_path / "a")
    summary = augment(tokens, task_of(tokens), tokenizer, drawn(mask_probability=0), tmp_path / "a")
    assert summary["splits"]["train"]["n_rows"] > 2


def load_tokenizer_without_mask(folder: Path) -> Any:
    """Return the tokenizer of a few words with its mask token taken away."""
    make_tokenizer(folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.mask_token = None
    return tokenizer


def test_another_tokenizer_is_refused(table: Callable[..., Tokens], tmp_path: Path) -> None:
    """Catches variants in token ids that the teacher reads as other words."""
    tokens = table(train=labelled(SENTENCE))
    make_tokenizer(tmp_path / "other", ("the", "film"))
    with pytest.raises(DataError, match=r"another tokenizer .* Run 'dvc repro prepare'\."):
        augment(tokens, task_of(tokens), load_tokenizer(tmp_path / "other"), drawn(), tmp_path)
