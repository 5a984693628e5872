"""A text that is to be written for another: a translation, a summary.

An encoder reads the one; a decoder is given each token of the other and predicts the next
(Sutskever et al. 2014, 1409.3215, with the right tokens given: Williams & Zipser 1989).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy
from pipeline.core.checkpoint import read_config
from pipeline.core.errors import SettingsError
from pipeline.tasks.columns import Columns
from pipeline.tasks.language_model import LanguageModel
from pipeline.tasks.task import OTHER_TOKENIZER, MaskingSettings, Place, Tokenising
from pipeline.text.columns import ColumnSettings, without_blanks, without_mark
from pipeline.text.source import Source
from pipeline.text.token_row import PiecesAsked, TokenRow
from pipeline.text.tokenise import TokenisedTexts, TokenizerSettings, make_asking_rows

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


@final
@dataclass(frozen=True)
class SequenceToSequence(LanguageModel):
    """A text that is to be written for another.

    In the source the text, null where a row has none. In the table, where it is the `text_pair`,
    its token ids, each beside what the decoder is given then, in the further column
    `decoder_input_ids`; a row without a text has no labels either.
    """

    metrics: tuple[str, ...] = ("perplexity", "bleu", "chrf", "text_exact_match")

    kind = "sequence_to_sequence"
    auto_class = "AutoModelForSeq2SeqLM"
    writes = True
    columns = Columns(("text", "target"), ("unlabelled",))
    label_kind = "target_text"
    more_fields = MappingProxyType({"decoder_input_ids": pa.list_(pa.int32())})
    not_varied = "nobody says what is to be written for the variants of a text"
    not_retokenised = f"texts are written in the teacher's tokens, but {OTHER_TOKENIZER}"
    not_exported = (
        "a student of a sequence_to_sequence writes its text piece by piece with two networks "
        "in turn, which one ONNX file does not hold; ship its folder below artifacts/students"
    )

    def label_columns(self, columns: ColumnSettings) -> tuple[str, ...]:
        """Return the column of texts to be written."""
        return () if columns.target is None else (columns.target,)

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return the texts to be written."""
        (theirs,) = self.label_columns(columns)
        return without_blanks(without_mark(source.strings("target", theirs), columns.unlabelled))

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each row whether it has a text to be written."""
        return as_numpy(encoded.is_valid())

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return how many rows have one."""
        n_labelled = int(self.is_labelled(encoded).sum())
        return f"texts to be written for {n_labelled:,} of {len(train):,} rows"

    def tokenising(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        settings: TokenizerSettings,
        masking: MaskingSettings,
        checkpoint: Path,
    ) -> Tokenising:
        """Return how texts become rows, with the token that a decoder begins with."""
        how = super().tokenising(tokenizer, settings, masking, checkpoint)
        return replace(how, decoder_start=decoder_start(checkpoint, tokenizer))

    def made_with(self, how: Tokenising) -> dict[str, Any]:
        """Return what a decoder begins with."""
        return {"decoder_start": how.decoder_start}

    def tokenise(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, place: Place
    ) -> TokenisedTexts:
        """Tokenise texts and what is to be written for each.

        A target's tokens end with the end token, whether the tokenizer adds it or not, and are at
        most `how.max_length` (`n_target_texts_cut`); special tokens that the tokenizer puts behind
        them are left out. The decoder is given `how.decoder_start` for the first token, and for
        each other the one before it.

        Raises:
            SettingsError: the tokenizer has no end token.
        """
        assert how.decoder_start is not None
        texts, targets = table["text"].to_pylist(), labels.to_pylist()
        end = end_of_text(how.tokenizer)
        encoded = how.tokenizer(
            texts,
            truncation=True,
            max_length=how.max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        is_cut = [bool(encoding.overflowing) for encoding in encoded.encodings or ()]
        written = _tokens([target or "" for target in targets], how.tokenizer)
        rows, n_cut = [], 0
        for ids, types, target, own in zip(
            encoded["input_ids"], encoded["token_type_ids"], targets, written, strict=True
        ):
            right = [] if target is None else [*own[: how.max_length - 1], end]
            n_cut += target is not None and len(own) >= how.max_length
            given = [how.decoder_start, *right[:-1]] if right else []
            rows.append(
                TokenRow(
                    np.array(ids, dtype=np.int32),
                    np.array(types, dtype=np.int32),
                    PiecesAsked(
                        np.array(right, dtype=np.int32), decoder_ids=np.array(given, dtype=np.int32)
                    ),
                )
            )
        return TokenisedTexts(
            make_asking_rows(rows, texts, targets, self.schema),
            np.array(is_cut, dtype=bool),
            {"n_target_texts_cut": n_cut},
        )


def end_of_text(tokenizer: "PreTrainedTokenizerFast") -> int:
    """Return the token that ends a text that a decoder writes.

    Raises:
        SettingsError: the tokenizer has none.
    """
    for number in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if number is not None:
            return int(number)
    raise SettingsError(
        "tokenizer.checkpoint: its tokenizer has no token that ends a text, which a "
        "sequence_to_sequence needs; name the checkpoint of a model that writes texts"
    )


def _tokens(targets: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """Return each target's tokens, without special ones behind the last one."""
    encoded = tokenizer(text_target=list(targets), return_attention_mask=False, verbose=False)
    return [_without_end(encoding) for encoding in encoded.encodings or ()]


def _without_end(encoding: "Encoding") -> list[int]:
    own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    stop = own[-1] + 1 if len(own) else 0
    ids: list[int] = encoding.ids[:stop]
    return ids


def decoder_start(checkpoint: Path, tokenizer: "PreTrainedTokenizerFast") -> int:
    """Return the start token that a checkpoint names, or else the tokenizer's.

    The checkpoint names it in its config, its decoder's or the one for generation: T5 and Marian
    begin with the padding token, BART with the end token. Of a tokenizer, it is the first that
    it has of: the token that begins a text, [CLS], padding.

    Raises:
        SettingsError: neither has one.
    """
    config = read_config(checkpoint)
    path = checkpoint / "generation_config.json"
    generation = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    places = (config, config.get("decoder"), generation)
    named = [place.get("decoder_start_token_id") for place in places if isinstance(place, dict)]
    own = [tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.pad_token_id]
    for number in (*named, *own):
        if isinstance(number, int):
            return number
    raise SettingsError(
        "tokenizer.checkpoint: neither its config nor its tokenizer says with which token a "
        "decoder begins, which a sequence_to_sequence needs; set decoder_start_token_id in "
        "its config.json"
    )
