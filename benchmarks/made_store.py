"""Stores of made-up values, written without a model, to measure reading with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.fingerprint import KEY_BYTES
from pipeline.models.architecture import Architecture
from pipeline.signals.signal import NUMPY_TYPES, Arrays
from pipeline.store.manifest import Identity
from pipeline.store.row_table import RowTable
from pipeline.store.writer import create_store


def write_made_store(
    store_dir: Path,
    teacher: Architecture,
    arrays: Arrays,
    lengths: NDArray[np.int64],
    segment_rows: int,
    keys: NDArray[np.void] | None = None,
) -> None:
    """Write a store of rows of these lengths: numbers between 0 and 1, random keys or these."""
    identity = Identity(
        task="classification",
        labels=tuple(f"label-{number}" for number in range(teacher.n_labels)),
        weights="1" * 64,
        config="2" * 64,
        tokenizer="3" * 64,
        max_length=int(lengths.max()),
        precision="float32",
        extraction=1,
    )
    writer = create_store(store_dir, identity, teacher, segment_rows, {})
    if keys is None:
        drawn_bytes = np.random.default_rng(0).bytes(KEY_BYTES * len(lengths))
        keys = np.frombuffer(drawn_bytes, f"V{KEY_BYTES}")
    drawn = np.random.default_rng(1).random(2**20, np.float32)
    for number, first in enumerate(range(0, len(lengths), segment_rows)):
        members = slice(first, first + segment_rows)
        table = RowTable(keys[members], lengths[members])
        draft = writer.add_segment(f"{number:05d}", table)
        for array, encoding in arrays.items():
            values = np.resize(drawn.astype(NUMPY_TYPES[encoding]), draft.shape(array))
            draft.write_array(array, values, encoding)
        draft.commit()


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table whose numbers stand on the right."""
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
