"""Token tables and stores without texts and teachers, for measuring speed and size."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.fingerprint import row_key
from pipeline.models.architecture import Architecture
from pipeline.models.inputs import pad_rows
from pipeline.signals.signal import Arrays
from pipeline.store.manifest import Identity
from pipeline.store.writer import StoreWriter, create_store
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.teacher.work import choose_segment_rows
from pipeline.text.tokens import Tokens, TokenSplit

_IDENTITY = Identity(
    task="classification",
    labels=("0", "1"),
    weights="0" * 64,
    config="0" * 64,
    tokenizer="0" * 64,
    max_length=512,
    precision="float32",
    extraction=1,
)


def make_table(lengths: NDArray[np.int64], teacher: Architecture) -> Tokens:
    """Return a token table of one split whose rows have these lengths and random ids."""
    generator = np.random.default_rng(1)
    ids = generator.integers(1000, 20_000, int(lengths.sum()), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    types = np.zeros_like(ids)
    spans = [slice(first, stop) for first, stop in pairwise(offsets.tolist())]
    keys = np.array([row_key(ids[span], types[span]) for span in spans], dtype="V16")
    split = TokenSplit(
        keys=keys,
        offsets=offsets,
        input_ids=ids,
        token_type_ids=types,
        labels=np.zeros(len(lengths), dtype=np.int64),
        label_offsets=np.arange(len(lengths) + 1),
        first_rows=np.arange(len(lengths) + 1),
        table=CLASSIFICATION.schema.empty_table(),
    )
    return Tokens(
        {"train": split},
        CLASSIFICATION.label_kind,
        _IDENTITY.labels,
        _IDENTITY.tokenizer,
        512,
        "0" * 64,
    )


def plain_inputs(tokens: Tokens, rows: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    """Return the padded batch of some rows on a device."""
    members = [tokens.splits["train"].row(row) for row in rows]
    inputs = pad_rows(members, 0, has_token_types=True)
    return {name: values.to(device) for name, values in inputs.items()}


def make_store(
    folder: Path, teacher: Architecture, arrays: Arrays, lengths: NDArray[np.int64]
) -> StoreWriter:
    """Return the writer of an empty store with segments of the default size."""
    n_rows = choose_segment_rows(lengths, arrays, teacher)
    return create_store(folder, _IDENTITY, teacher, n_rows, {})
