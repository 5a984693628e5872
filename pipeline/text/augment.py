"""Variants of the training texts, unlabelled, for the teacher to label.

Heuristics of Tang et al. 2019 (1903.12136, section 3.3), the way they draw one variant:
each word becomes the mask token with probability `mask_probability`; then, with
probability `n_gram_probability`, a random n-gram of the result takes its place. Their
third heuristic, replacing words by others of the same part of speech, is left out:
it needs a tagger.

A word is what whitespace separates, so a language written without it has texts of one
word, which this leaves whole or masks whole.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator
from tqdm import tqdm

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.core.settings import Section
from pipeline.text.tokenise import TokenisedTexts, tokenise, write_variants
from pipeline.text.tokens import UNLABELLED, LabelFormat, Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WORD = re.compile(r"\S+")
_ROWS_AT_ONCE = 1000

Texts = tuple[str, str | None]
"""A row's text and its second text, if it has one."""


class AugmentationSettings(Section):
    """The `augmentation` section."""

    n_copies: int = Field(default=0, ge=0, le=1000)
    """Variants drawn for each training row; 0 turns augmentation off."""
    mask_probability: float = Field(default=0.1, ge=0, le=1)
    """Of each word."""
    n_gram_probability: float = Field(default=0.25, ge=0, le=1)
    """Of each text."""
    largest_n_gram: int = Field(default=5, ge=1)
    """In words; the length is drawn evenly from 1 to this, or to the text's own length."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _something_changes(self) -> "AugmentationSettings":
        if self.n_copies and not self.mask_probability and not self.n_gram_probability:
            raise ValueError(
                f"n_copies is {self.n_copies}, but mask_probability and n_gram_probability are "
                "both 0, so no text would change. Raise one, or set n_copies to 0"
            )
        return self


def augment(
    tokens: Tokens,
    form: LabelFormat,
    tokenizer: "PreTrainedTokenizerFast",
    settings: AugmentationSettings,
    folder: Path,
) -> dict[str, Any]:
    """Write variants of the training rows as a token table into an empty folder.

    It has one split, `train`, of unlabelled rows in the order of the rows that they come
    from. None has the key of another, nor of any row of `tokens`, so that no text of
    validation or test comes into training. With `n_copies` 0 there are no rows. `form` is the
    format of the table's labels.

    Returns the table's summary, `tokens.json`.

    Raises:
        DataError: `tokens` were made by another tokenizer.
        SettingsError: words are to be masked, and the tokenizer has no mask token; or rows with
            such labels have no variants.
    """
    if digest_tokenizer(tokenizer) != tokens.tokenizer:
        raise DataError(
            "the token table was made with another tokenizer than tokenizer.checkpoint. "
            "Run 'dvc repro prepare'."
        )
    if settings.n_copies and form.not_varied:
        raise SettingsError(f"augmentation.n_copies: {form.not_varied}; set it to 0")
    rows = _new_rows(tokens, form.schema, tokenizer, settings)
    return write_variants(tokens, form, {"train": rows}, folder)


def _new_rows(
    tokens: Tokens,
    schema: pa.Schema,
    tokenizer: "PreTrainedTokenizerFast",
    settings: AugmentationSettings,
) -> Iterator[TokenisedTexts]:
    mask_token = _mask_token(tokenizer, settings)
    known = {key.tobytes() for split in tokens.splits.values() for key in split.keys}
    table = tokens.splits["train"].table
    for start in tqdm(range(0, len(table), _ROWS_AT_ONCE), "augment", unit="k"):
        some = table.slice(start, _ROWS_AT_ONCE)
        rows = zip(some["text"].to_pylist(), some["text_pair"].to_pylist(), strict=True)
        drawn = [variant for row in rows for variant in variants(row, settings, mask_token)]
        if not drawn:
            continue
        texts, pairs = ([*column] for column in zip(*drawn, strict=True))
        labels = _no_labels(len(drawn), schema.field("label").type, len(tokens.labels))
        part = tokenise(
            texts,
            None if None in pairs else pairs,
            labels,
            schema,
            tokenizer,
            tokens.max_length,
        )
        yield _without_known(part, known)


def _no_labels(n_rows: int, kind: pa.DataType, n_labels: int) -> pa.Array:
    """Return the labels of unlabelled rows: a number each, or a list of one for each label."""
    if pa.types.is_floating(kind):
        return pa.array([float("nan")] * n_rows, kind)
    if pa.types.is_list(kind):
        return pa.array([[UNLABELLED] * n_labels] * n_rows, kind)
    return pa.array([UNLABELLED] * n_rows, kind)


def _mask_token(tokenizer: "PreTrainedTokenizerFast", settings: AugmentationSettings) -> str:
    mask_token = tokenizer.mask_token
    if mask_token is None and settings.mask_probability:
        raise SettingsError(
            "augmentation.mask_probability: the tokenizer of tokenizer.checkpoint has no mask "
            f"token; set it to 0, got {settings.mask_probability:g}"
        )
    return str(mask_token or "")  # nothing is masked where there is none


def _without_known(part: TokenisedTexts, known: set[bytes]) -> TokenisedTexts:
    """Drop rows whose key is known, and note the keys of the others."""
    is_new = np.zeros(len(part.rows), dtype=bool)
    for index, key in enumerate(part.rows["key"].to_pylist()):
        is_new[index] = key not in known
        known.add(key)
    return TokenisedTexts(part.rows.filter(pa.array(is_new)), part.is_cut[is_new])


def variants(row: Texts, settings: AugmentationSettings, mask_token: str) -> list[Texts]:
    """Return the distinct variants of one row, without the row itself: `n_copies` or fewer.

    They depend on nothing but the arguments. Of a pair, the first text is varied in one
    copy, the second in the next, both in the third, and so on, as in the paper.
    """
    drawn = (_draw(row, copy, settings, mask_token) for copy in range(settings.n_copies))
    return [variant for variant in dict.fromkeys(drawn) if variant != row]


def _draw(row: Texts, copy: int, settings: AugmentationSettings, mask_token: str) -> Texts:
    text, pair = row
    content = json.dumps([settings.seed, copy, text, pair]).encode()
    seed = int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "little")
    generator = np.random.default_rng(seed)
    if pair is None:
        return vary(text, settings, mask_token, generator), None
    turn = copy % 3
    return (
        text if turn == 1 else vary(text, settings, mask_token, generator),
        pair if turn == 0 else vary(pair, settings, mask_token, generator),
    )


def vary(
    text: str, settings: AugmentationSettings, mask_token: str, generator: np.random.Generator
) -> str:
    """Return a text with some words masked, and perhaps only an n-gram of that."""
    varied = mask_words(text, settings.mask_probability, mask_token, generator)
    if generator.random() < settings.n_gram_probability:
        return sample_n_gram(varied, settings.largest_n_gram, generator)
    return varied


def mask_words(
    text: str, probability: float, mask_token: str, generator: np.random.Generator
) -> str:
    """Return a text with each word replaced by the mask token with this probability."""
    return _WORD.sub(lambda word: mask_token if generator.random() < probability else word[0], text)


def sample_n_gram(text: str, largest: int, generator: np.random.Generator) -> str:
    """Return 1 to `largest` neighbouring words of a text; a text without words as it is."""
    words = list(_WORD.finditer(text))
    if not words:
        return text
    n_words = int(generator.integers(1, min(largest, len(words)), endpoint=True))
    first = int(generator.integers(0, len(words) - n_words, endpoint=True))
    return text[words[first].start() : words[first + n_words - 1].end()]
