"""A tiny store with every signal and encoding, made without a model."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.store.encoding import as_numpy, encode
from pipeline.store.row_table import RowTable
from pipeline.store.spec import CLS, CLS_MOMENTS, LOGITS, Arrays, ArraySpec
from pipeline.store.writer import create_store
from tests.store.small_store import IDENTITY, TEACHER, keys_of

SEGMENT_LENGTHS = ((3, 1, 2), (2, 4))
"""Tokens of the rows of each segment: five rows."""

FULL: Arrays = {
    LOGITS: "float32",
    CLS: "float16",
    CLS_MOMENTS: "float32",
    ArraySpec("hidden_states", 0): "bfloat16",
    ArraySpec("hidden_states", 2): "float16",
    ArraySpec("attentions", 1): "uint8_cbrt",
    ArraySpec("attentions", 2): "float16",
    ArraySpec("attentions", 2, "mean"): "bfloat16",
}
TEACHER_FILES = {"config.json": b'{"model_type": "bert"}\n', "vocab.txt": b"[PAD]\n[CLS]\n"}


def full_store(folder: Path, sources: Path) -> Path:
    """Write the store; the teacher's files are copied from `sources`, which is filled first.

    Numbers are multiples of 1/8 below 32 in every other signal than attention maps,
    whose rows are 1, 2, 3, ... over their sum.
    """
    sources.mkdir(parents=True)
    for name, content in TEACHER_FILES.items():
        (sources / name).write_bytes(content)
    files = {name: sources / name for name in TEACHER_FILES}
    writer = create_store(folder, IDENTITY, TEACHER, 3, files)
    first = 0
    for number, lengths in enumerate(SEGMENT_LENGTHS):
        table = RowTable(keys_of(range(first, first + len(lengths))), np.array(lengths))
        first += len(lengths)
        draft = writer.add_segment(f"{number:05d}", table)
        drawn = {array: draw(array, draft.shape(array), lengths) for array in FULL}
        states = drawn[CLS].astype(np.float64)
        drawn[CLS_MOMENTS] = np.stack([states.mean(0), states.std(0)])
        for array, encoding in FULL.items():
            values = torch.from_numpy(drawn[array]).float()
            draft.write_array(array, as_numpy(encode(values, encoding)), encoding)
        draft.commit()
    return folder


def draw(array: ArraySpec, shape: tuple[int, ...], lengths: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array's plain values, which follow from its name and its rows' lengths."""
    if array.signal == "attentions":
        rows = [
            np.arange(1.0, n + 1) / np.arange(1.0, n + 1).sum()
            for n in lengths
            for _ in range(array.n_maps(TEACHER) * n)
        ]
        return np.array(list(itertools.chain.from_iterable(rows)))
    seed = hashlib.sha256(f"{array.name}{lengths}".encode()).digest()
    return np.random.default_rng(list(seed)).integers(-255, 256, shape) / 8
