"""A label for each word of a text: entities, parts of speech."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.tasks.class_labels import ClassLabels, class_numbers
from pipeline.tasks.columns import Columns
from pipeline.tasks.task import OTHER_TOKENIZER, Place, Tokenising, joined_labels
from pipeline.text.columns import ColumnSettings, without_blanks, without_mark
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source, as_lists, is_named, lists_of
from pipeline.text.tokenise import TokenisedTexts, make_rows
from pipeline.text.tokens import IGNORED, UNLABELLED, Labels, TokenSplit

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


@final
@dataclass(frozen=True)
class TokenClassification(ClassLabels):
    """A label for each word of a text.

    In the source lists of names, as long as the lists of words; in the table lists of the classes'
    numbers, one for each token, `IGNORED` where no word begins.
    """

    metrics: tuple[str, ...] = ("entity_f1", "accuracy")

    kind = "token_classification"
    auto_class = "AutoModelForTokenClassification"
    predicts = "token"
    columns = Columns(("text", "label"), ("labels", "unlabelled"))
    text_lists = "needed"
    label_lists = "needed"
    source_type = pa.list_(pa.string())
    label_kind = "word_names"
    label_type = pa.list_(pa.int64())
    not_varied = "the labels of a token classification belong to words, which variants lose"
    not_retokenised = f"labels of words stand at the teacher's tokens, but {OTHER_TOKENIZER}"

    def read(self, source: Source, columns: ColumnSettings, split: str) -> pa.Table:
        """Return lists of words as `words`, the text that they make, and a label for each."""
        self.check_columns(source, columns)
        words = source.lists("text", columns.text, "words")
        labels = self.read_labels(source, columns, split)
        _check_lengths(words, labels, source.place)
        return pa.table(
            {
                "words": words,
                "text": pc.binary_join(words, " "),
                "text_pair": pa.nulls(len(source.table), pa.string()),
                "label": labels,
            }
        )

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return lists of names; null where a row is not labelled."""
        (theirs,) = self.label_columns(columns)
        lists = source.lists("label", theirs, "labels")
        values = without_mark(lists.flatten(), columns.unlabelled)
        return lists_of(lists, values if is_named(values.type) else without_blanks(values))

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return lists of the classes' numbers, one for each word."""
        encoded = {}
        for split, table in corpus.items():
            lists, words = as_lists(table["label"]), as_lists(table["words"])
            rows = np.repeat(np.arange(len(lists)), lists.value_lengths().fill_null(0))
            values = lists.flatten().to_pylist()
            numbers = class_numbers(values, rows.tolist(), names, mapping, split)
            labelled = lists_of(lists, pa.array(numbers, pa.int64()))
            none = lists_of(words, pa.array([UNLABELLED] * len(words.flatten()), pa.int64()))
            encoded[split] = pc.if_else(lists.is_null(), none, labelled)
        return encoded

    def count_labels(self, labels: pa.Array, n_names: int) -> Counter[int]:
        """Return how many words have each label."""
        return Counter(labels.flatten().to_pylist())

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return the labels' names with the words that have each."""
        return f"{super().describe(train, encoded, names)}, in words"

    def tokenise(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, place: Place
    ) -> TokenisedTexts:
        """Tokenise lists of words; the first token of each word has its label.

        Other tokens and special ones have `IGNORED`. A word of which the tokenizer leaves no
        token loses its label (`n_words_dropped`), as do words behind the limit (`n_words_cut`).

        Raises:
            DataError: the tokenizer reads words that are given one by one in another way than
                those of a text.
        """
        texts = table["words"].to_pylist()
        _check_reads_words(how.tokenizer)
        encoded = how.tokenizer(
            [list(words) for words in texts],
            is_split_into_words=True,
            truncation=True,
            max_length=how.max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        aligned, is_cut, n_dropped, n_cut = [], [], 0, 0
        of_words = labels.to_pylist()
        for encoding, ids, words in zip(encoded.encodings or (), of_words, texts, strict=True):
            aligned.append(_at_first_tokens(encoding.word_ids, ids))
            kept = set(encoding.word_ids)
            behind = {word for rest in encoding.overflowing for word in rest.word_ids} - kept
            is_cut.append(bool(encoding.overflowing))
            n_cut += len(behind)
            n_dropped += len(set(range(len(words))) - kept - behind)
        rows = make_rows(
            encoded["input_ids"],
            encoded["token_type_ids"],
            pa.array(aligned, self.label_type),
            [" ".join(words) for words in texts],
            None,
            self.schema,
        )
        counts = {"n_words_dropped": n_dropped, "n_words_cut": n_cut}
        return TokenisedTexts(rows, np.array(is_cut, dtype=bool), counts)

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return a label for each token, -100 where there is none."""
        import torch

        labels = joined_labels(examples)
        padded = torch.full(mask.shape, IGNORED)
        padded[mask.bool()] = torch.where(labels == UNLABELLED, IGNORED, labels)
        return padded

    def parts_of(
        self, split: TokenSplit, logits: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the offsets of rows' tokens, and their logits."""
        return split.offsets, logits


def _check_lengths(words: pa.ListArray, labels: pa.ListArray, place: str) -> None:
    """Refuse a labelled row whose labels are not as many as its words."""
    differs = pc.not_equal(words.value_lengths(), labels.value_lengths()).fill_null(False)
    row = differs.index(True).as_py()
    if row >= 0:
        n_words, n_labels = len(words[row]), len(labels[row])
        raise DataError(
            f"{place}: row {row + 1} has {n_words} words and {n_labels} labels; each word needs "
            "one. Correct it, or remove the row."
        )


def _check_reads_words(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Refuse a tokenizer that reads words one by one as if nothing stood between them."""
    together = tokenizer("the the", add_special_tokens=False)["input_ids"]
    alone = tokenizer(["the", "the"], is_split_into_words=True, add_special_tokens=False)
    if alone["input_ids"] != together:
        raise DataError(
            "the tokenizer reads words that are given one by one as if there were no spaces "
            "between them. Load it with add_prefix_space=True and save it into the folder of the "
            "teacher's checkpoint."
        )


def _at_first_tokens(words: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Return a label for each token; `words` says which word a token is of."""
    return [
        IGNORED if word is None or word == before else labels[word]
        for before, word in zip([None, *words], words, strict=False)
    ]
