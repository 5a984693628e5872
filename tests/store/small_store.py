"""A small store written without a model, and the plain values that must be in it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.fingerprint import row_key
from pipeline.models.architecture import Architecture
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import NUMPY_TYPES, Array, Encoding
from pipeline.store.encoding import as_numpy
from pipeline.store.manifest import Identity
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.row_table import RowTable
from pipeline.store.segment_draft import SegmentDraft
from pipeline.store.writer import StoreWriter, create_store, open_store_for_writing

TEACHER = Architecture(
    model_type="bert", n_layers=2, n_heads=3, hidden_size=4, n_labels=2, head_reads="first"
)
IDENTITY = Identity(
    task="classification",
    labels=("negative", "positive"),
    weights="1" * 64,
    config="2" * 64,
    tokenizer="3" * 64,
    max_length=64,
    precision="float32",
    extraction=1,
)

MAPS_1, MAPS_2 = Array(ATTENTIONS, 1), Array(ATTENTIONS, 2)
MEAN_1 = Array(ATTENTIONS, 1, "mean")
STATES_0 = Array(HIDDEN_STATES, 0)
ENCODINGS: dict[Array, Encoding] = {
    Array(LOGITS): "float32",
    CLS_STATES: "float16",
    MAPS_1: "float16",
}

RowValues = dict[Array, NDArray[np.generic]]
"""What one row has in each array, flat."""


def keys_of(numbers: Iterable[int]) -> NDArray[np.void]:
    """Return the keys of rows of one token each."""
    keys = [row_key(np.array([number]), np.array([0])) for number in numbers]
    return np.array(keys, dtype="V16")


def draw_row(number: int, length: int, encodings: dict[Array, Encoding]) -> RowValues:
    """Return values that follow from the row's number alone, with the rarest ones among them."""
    generator = np.random.default_rng(number)
    sizes = {
        Array(LOGITS): 2,
        CLS_STATES: 3 * 4,
        STATES_0: 4 * length,
        MAPS_1: 3 * length**2,
        MAPS_2: 3 * length**2,
        MEAN_1: length**2,
    }
    values = {}
    for array in sorted(encodings):
        dtype = NUMPY_TYPES[encodings[array]]
        if dtype.kind == "u":
            values[array] = generator.integers(0, np.iinfo(dtype).max, sizes[array], dtype)
            continue
        drawn = generator.standard_normal(sizes[array]).astype(dtype)
        limits = np.finfo(dtype)
        special = np.array([limits.max, limits.min, -0.0, limits.smallest_subnormal], dtype)
        drawn[:2] = generator.choice(special, min(2, len(drawn)))
        values[array] = drawn
    return values


@dataclass
class Sample:
    """A store that grows, and a plain dict of what must be in it."""

    folder: Path
    writer: StoreWriter
    encodings: dict[Array, Encoding]
    lengths: list[list[int]] = field(default_factory=list)
    """By segment."""
    rows: list[RowValues] = field(default_factory=list)
    """All rows, numbered as in the store."""

    def draft(self, lengths: Sequence[int]) -> tuple[SegmentDraft, list[RowValues]]:
        """Write the arrays of another segment without committing it."""
        first = len(self.rows)
        numbers = range(first, first + len(lengths))
        rows = [
            draw_row(number, length, self.encodings)
            for number, length in zip(numbers, lengths, strict=True)
        ]
        table = RowTable(keys_of(numbers), np.array(lengths, dtype=np.int64))
        draft = self.writer.add_segment(next(self.writer.manifest.free_names()), table)
        for array, encoding in self.encodings.items():
            values = np.concatenate([row[array] for row in rows])
            draft.write_array(array, values.reshape(draft.shape(array)), encoding)
        return draft, rows

    def add(self, lengths: Sequence[int]) -> None:
        """Commit another segment."""
        draft, rows = self.draft(lengths)
        draft.commit()
        self.lengths.append(list(lengths))
        self.rows += rows

    def draft_layer(self, index: int, array: Array) -> SegmentDraft:
        """Write another array of a segment, all 0.5, without committing it."""
        draft = self.writer.extend_segment(self.writer.manifest.segments[index])
        draft.write_array(array, np.full(draft.shape(array), 0.5, np.float16), "float16")
        return draft

    def extend(self, index: int, array: Array) -> None:
        """Commit another array, all 0.5, of a segment."""
        self.draft_layer(index, array).commit()

    def reopen(self) -> None:
        """Open the store for writing as the next run does."""
        writer = open_store_for_writing(self.folder, IDENTITY)
        assert writer is not None
        self.writer = writer


def new_sample(folder: Path, encodings: dict[Array, Encoding] = ENCODINGS) -> Sample:
    """Make an empty store."""
    source = folder.with_name(folder.name + "-config.json")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("{}")
    writer = create_store(folder, IDENTITY, TEACHER, 4, {"config.json": source})
    return Sample(folder, writer, encodings)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def openers(sample: Sample) -> list[Callable[[], object]]:
    """Return the ways to open a store: for reading and for writing."""
    return [
        lambda: open_store(sample.folder),
        lambda: open_store_for_writing(sample.folder, IDENTITY),
    ]


def check_rows(store: TeacherStore, sample: Sample, wanted: Sequence[int]) -> None:
    """Check that rows, read in this order, have the bytes that were written."""
    rows = store.find(keys_of(wanted)).tolist()
    read = {array: store.read(array, rows) for array in sample.encodings}
    for array, signal in read.items():
        expected = np.concatenate([sample.rows[number][array] for number in wanted])
        assert as_numpy(signal.values).tobytes() == expected.tobytes(), array
        assert signal.encoding == sample.encodings[array]
    assert read[Array(LOGITS)].values.shape == (len(wanted), 2)
    assert read[CLS_STATES].values.shape == (len(wanted), 3, 4)
