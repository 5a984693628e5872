"""Tiny teachers that predict word pieces, and token tables that ask for some."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import BartConfig, BartForConditionalGeneration, BertConfig, BertForMaskedLM

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.fingerprint import KEY_BYTES, digest_tokenizer
from pipeline.tasks import TASKS
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens, TokenSplit
from tests.conftest import make_tokenizer

N_PIECES = 40


def make_masked_teacher(folder: Path, *, seed: int = 0) -> Path:
    """Save a random masked language model of 3 layers with its tokenizer."""
    make_tokenizer(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=N_PIECES,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # else all logits are all but equal
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def make_writing_teacher(folder: Path, *, seed: int = 0) -> Path:
    """Save a random BART of 2 encoder and 3 decoder layers with a tokenizer."""
    make_tokenizer(folder)
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=N_PIECES,
        d_model=16,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        init_std=0.5,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=2,
        forced_eos_token_id=3,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    return folder


def make_piece_tokens(rows: Sequence[TokenRow], teacher: Path) -> Tokens:
    """Return a token table with these rows as its training split."""
    asked = [row.asked for row in rows if row.asked is not None]
    assert len(asked) == len(rows)
    has_decoder = asked[0].decoder_ids is not None
    places = np.concatenate([one.places for one in asked])

    def offsets(counts: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    split = TokenSplit(
        keys=np.array([row.key() for row in rows], dtype=f"V{KEY_BYTES}"),
        offsets=offsets([len(row.ids) for row in rows]),
        input_ids=np.concatenate([row.ids for row in rows]),
        token_type_ids=np.concatenate([row.types for row in rows]),
        labels=np.concatenate([one.pieces for one in asked]).astype(np.int64),
        label_offsets=offsets([len(one.pieces) for one in asked]),
        first_rows=np.arange(len(rows) + 1),
        table=pa.table({"text": [f"text {number}" for number in range(len(rows))]}),
        masked=None if has_decoder else places,
        decoder_ids=places if has_decoder else None,
    )
    task = TASKS["sequence_to_sequence" if has_decoder else "masked_lm"]
    return Tokens(
        splits={"train": split},
        label_kind=task.label_kind,
        labels=(),
        tokenizer=digest_tokenizer(load_tokenizer(teacher)),
        max_length=64,
        digest="0" * 64,
    )
