"""Which tokens masks hide, in texts without any label.

Devlin et al. 2019, 1810.04805, section 3.1: of the tokens that are masked, 80 of 100 become the
mask token, 10 another token at random, 10 stay. Masks are drawn once, when the texts become tokens,
so that teacher and students see the same. What a window's masks are depends on the seed, the split
and the window's number alone, not on how many windows there are.

A row is a window: the tokenizer's special tokens around as many tokens of text as fit. Where a text
ends, the next begins in the same window, behind the special token that ends a row. No token of any
text is lost, and none is in two windows; a text without a token leaves nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.core.errors import DataError, SettingsError
from pipeline.tasks.columns import Columns
from pipeline.tasks.language_model import LanguageModel
from pipeline.tasks.task import OTHER_TOKENIZER, TEXTS_PER_CALL, MaskingSettings, Tokenising
from pipeline.text.columns import ColumnSettings
from pipeline.text.source import Source
from pipeline.text.token_row import PiecesAsked, TokenRow
from pipeline.text.tokenise import TokenisedTexts, make_asking_rows
from pipeline.text.tokens import SPLITS

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

NO_WORD = -1
"""The word of a token that is of no text."""

_MASK_SHARE = 0.8
_RANDOM_SHARE = 0.1
_WINDOWS_AT_ONCE = 1000


@final
@dataclass(frozen=True)
class MaskedLm(LanguageModel):
    """Which tokens masks hide.

    There are no labels in the source; in the table they are the token ids that masks hide, whose
    positions are in the further column `masked`.
    """

    metrics: tuple[str, ...] = ("perplexity", "accuracy")

    kind = "masked_lm"
    auto_class = "AutoModelForMaskedLM"
    masks = True
    columns = Columns(("text",))
    reads_docstrings = True
    label_kind = "masked"
    more_fields = MappingProxyType({"masked": pa.list_(pa.int32())})
    not_varied = "the texts of a masked LM share rows, whose masks change them already"
    not_retokenised = f"masks hide the teacher's tokens, but {OTHER_TOKENIZER}"

    def read(self, source: Source, columns: ColumnSettings, split: str) -> pa.Table:
        """Return the texts; blank lines between paragraphs hold nothing to hide."""
        table = super().read(source, columns, split)
        has_text = pc.not_equal(pc.utf8_trim_whitespace(table["text"]), "")
        return table.filter(pc.fill_null(has_text, False))

    def label_columns(self, columns: ColumnSettings) -> tuple[str, ...]:
        """Return none."""
        return ()

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return nothing for each row."""
        return pa.nulls(len(source.table), self.source_type)

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each text that masks can hide tokens of it."""
        return np.ones(len(encoded), dtype=bool)

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return that there are none."""
        return "none are needed; masks hide word pieces of the texts"

    def made_with(self, how: Tokenising) -> dict[str, Any]:
        """Return how masks were drawn."""
        return {"masking": how.masking.model_dump()}

    def tokenised(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, split: str
    ) -> Iterator[TokenisedTexts]:
        """Yield windows over all texts, with their masks.

        Raises:
            DataError: special tokens leave no room for text, or there is no token to hide.
            SettingsError: the tokenizer has no mask token.
        """
        masker = masker_of(how.tokenizer, how.masking, split)
        n_rows = 0
        for part in text_windows(_chunks(table, split), how, masker, self.schema):
            n_rows += len(part.rows)
            yield part
        if not n_rows:
            raise DataError(
                f"{split}: the tokenizer leaves no token of any text, so there is nothing to "
                "hide. Set data.columns.text to a column of written language."
            )


MASKED_LM = MaskedLm()


def _chunks(table: pa.Table, split: str) -> Iterator[list[str]]:
    for start in tqdm(range(0, len(table), TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
        yield table["text"].slice(start, TEXTS_PER_CALL).to_pylist()


@dataclass(frozen=True)
class Masker:
    """Draws the masks of one split's windows."""

    settings: MaskingSettings
    mask_id: int
    special_ids: NDArray[np.int32]
    """(special,), tokens that are never masked, and never come in another's place."""
    plain_ids: NDArray[np.int32]
    """(token,), all others."""
    split: str

    def draw(
        self, window: int, ids: NDArray[np.int32], words: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], PiecesAsked]:
        """Return the masked input ids of a window, and its LM labels.

        `words` says which word of the window each token is of, `NO_WORD` of none. As many
        words, or tokens, as `probability` says are masked, on average exactly, but at least one
        where there is one.
        """
        seed = [self.settings.seed, SPLITS.index(self.split), window]
        generator = np.random.default_rng(seed)
        may_be = (words != NO_WORD) & ~np.isin(ids, self.special_ids)
        places = np.flatnonzero(may_be)
        units = words[places] if self.settings.whole_words else places
        distinct = np.unique(units)
        expected = self.settings.probability * len(distinct)
        n_chosen = min(len(distinct), max(1, int(expected + generator.random())))
        chosen = generator.permutation(distinct)[:n_chosen]
        masked = places[np.isin(units, chosen)]
        fate = generator.random(len(masked))
        drawn = generator.choice(self.plain_ids, len(masked))
        shown = ids.copy()
        shown[masked] = np.where(
            fate < _MASK_SHARE,
            self.mask_id,
            np.where(fate < _MASK_SHARE + _RANDOM_SHARE, drawn, ids[masked]),
        )
        return shown, PiecesAsked(ids[masked], masked=masked.astype(np.int32))


def masker_of(
    tokenizer: "PreTrainedTokenizerFast", settings: MaskingSettings, split: str
) -> Masker:
    """Return what draws the masks of a split.

    Raises:
        SettingsError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise SettingsError(
            "tokenizer.checkpoint: its tokenizer has no mask token, which a masked_lm needs; "
            "name the checkpoint of a masked language model"
        )
    special = _special_ids(tokenizer)
    every = np.array(sorted(tokenizer.get_vocab().values()), dtype=np.int32)
    plain = every[~np.isin(every, special)]
    return Masker(settings, tokenizer.mask_token_id, special, plain, split)


def _special_ids(tokenizer: "PreTrainedTokenizerFast") -> NDArray[np.int32]:
    added = tokenizer.added_tokens_decoder
    found: Sequence[int] = [number for number, token in added.items() if token.special]
    return np.unique([*tokenizer.all_special_ids, *found]).astype(np.int32)


@dataclass
class _Window:
    """What is between the special tokens at a window's ends."""

    ids: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    """Which word each token is of; `NO_WORD` for what separates texts."""
    texts: list[str] = field(default_factory=list)
    """The part of each text that the window covers."""


def text_windows(
    texts: Iterable[Sequence[str]], how: Tokenising, masker: Masker, schema: pa.Schema
) -> Iterator[TokenisedTexts]:
    """Cut texts, which come in chunks, into windows of at most `how.max_length` tokens.

    A row's text is what the window covers of each, from its first token's first character to
    its last one's last, with a space between two texts.

    Raises:
        DataError: special tokens leave no room for text.
    """
    before, behind = _special_ends(how.tokenizer)
    room = how.max_length - len(before) - len(behind)
    if room < 1:
        raise DataError(
            f"the tokenizer adds {len(before) + len(behind)} special tokens, which leaves no room "
            f"for text in rows of {how.max_length}. Raise tokenizer.max_length."
        )
    windows = enumerate(_windows(texts, how.tokenizer, room, behind[-1:]))
    while some := list(islice(windows, _WINDOWS_AT_ONCE)):
        rows = []
        for number, window in some:
            ids = np.array([*before, *window.ids, *behind], dtype=np.int32)
            words = np.array(
                [NO_WORD] * len(before) + window.words + [NO_WORD] * len(behind), dtype=np.int64
            )
            shown, asked = masker.draw(number, ids, words)
            rows.append(TokenRow(shown, np.zeros_like(shown), asked))
        covered = [" ".join(window.texts) for _, window in some]
        table = make_asking_rows(rows, covered, None, schema)
        yield TokenisedTexts(table, np.zeros(len(rows), dtype=bool))


def _special_ends(tokenizer: "PreTrainedTokenizerFast") -> tuple[list[int], list[int]]:
    """Return the special tokens that begin a row and those that end it."""
    encoding = tokenizer(["a"], return_attention_mask=False)[0]
    own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    assert len(own), "a letter has a token, if only the unknown one"
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]


def _windows(
    texts: Iterable[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    room: int,
    separator: Sequence[int],
) -> Iterator[_Window]:
    """Yield windows of at most `room` tokens; only the last may have room for a token more."""
    window, n_words = _Window(), 0
    for text, encoding in _encoded(texts, tokenizer):
        words = [NO_WORD if word is None else n_words + word for word in encoding.word_ids]
        n_words, start = max([n_words, *(word + 1 for word in words)]), 0
        while start < len(encoding):
            if window.ids and len(window.ids) + len(separator) >= room:
                yield window
                window = _Window()
            if window.ids:
                window.ids += separator
                window.words += [NO_WORD] * len(separator)
            stop = min(len(encoding), start + room - len(window.ids))
            window.ids += encoding.ids[start:stop]
            window.words += words[start:stop]
            offsets = encoding.offsets[start:stop]
            window.texts.append(text[offsets[0][0] : offsets[-1][1]])
            start = stop
    if window.ids:
        yield window


def _encoded(
    texts: Iterable[Sequence[str]], tokenizer: "PreTrainedTokenizerFast"
) -> Iterator[tuple[str, "Encoding"]]:
    for chunk in texts:
        encoded = tokenizer(
            list(chunk), add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        yield from zip(chunk, encoded.encodings or (), strict=True)
