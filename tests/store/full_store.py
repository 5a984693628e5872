"""A tiny store with every signal and encoding, made without a model."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES, MOMENTS
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Arrays
from pipeline.store.encoding import as_numpy, encode
from pipeline.store.row_table import RowTable
from pipeline.store.writer import create_store
from tests.store.small_store import IDENTITY, TEACHER, keys_of

SEGMENT_LENGTHS = ((3, 1, 2), (2, 4))
"""Tokens of the rows of each segment: five rows."""

FULL: Arrays = {
    Array(LOGITS): "float32",
    CLS_STATES: "float16",
    MOMENTS: "float32",
    Array(HIDDEN_STATES, 0): "bfloat16",
    Array(HIDDEN_STATES, 2): "float16",
    Array(ATTENTIONS, 1): "uint8_cbrt",
    Array(ATTENTIONS, 2): "float16",
    Array(ATTENTIONS, 2, "mean"): "bfloat16",
}
TEACHER_FILES = {"config.json": b'{"model_type": "bert"}\n', "vocab.txt": b"[PAD]\n[CLS_STATES]\n"}


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
        states = drawn[CLS_STATES].astype(np.float64)
        drawn[MOMENTS] = np.stack([states.mean(0), states.std(0)])
        for array, encoding in FULL.items():
            values = torch.from_numpy(drawn[array]).float()
            draft.write_array(array, as_numpy(encode(values, encoding)), encoding)
        draft.commit()
    return folder


def draw(array: Array, shape: tuple[int, ...], lengths: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array's plain values, which follow from its name and its rows' lengths."""
    if array.signal == ATTENTIONS:
        rows = [
            np.arange(1.0, n + 1) / np.arange(1.0, n + 1).sum()
            for n in lengths
            for _ in range(array.width(TEACHER)[0] * n)
        ]
        return np.array(list(itertools.chain.from_iterable(rows)))
    seed = hashlib.sha256(f"{array.name}{lengths}".encode()).digest()
    return np.random.default_rng(list(seed)).integers(-255, 256, shape) / 8
