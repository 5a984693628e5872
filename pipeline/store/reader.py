"""Reading a teacher store: any rows, in any order, at the speed of memory.

Every array is one uncompressed chunk, so its file is mapped into memory and a batch
is one gather of row slices; nothing is read that is not asked for.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import StoreDamagedError, StoreIncompleteError
from pipeline.fingerprint import KEY_BYTES
from pipeline.store.encoding import NUMPY_TYPES
from pipeline.store.manifest import Manifest, Segment, check_files, read_manifest
from pipeline.store.spec import ArraySpec, SegmentSize, chunk_file, rows_file


def read_keys(store_dir: Path, segment: Segment) -> NDArray[np.void]:
    """Return a segment's row keys, 16 bytes each, in their order in the store."""
    return _read_rows(store_dir, segment)[0]


def _read_rows(store_dir: Path, segment: Segment) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    path = store_dir / rows_file(segment.name)
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        keys = table["key"].combine_chunks()
        lengths = np.asarray(table["length"]).astype(np.int64)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StoreDamagedError(
            f"{path} cannot be read: {error}. Restore it with 'dvc checkout'."
        ) from error
    found = SegmentSize(len(table), int(lengths.sum()), int((lengths**2).sum()))
    if found != segment.size or (lengths < 1).any():
        raise StoreDamagedError(
            f"{path} holds {found}, the manifest says {segment.size}. Restore it with "
            "'dvc checkout'."
        )
    return np.frombuffer(keys.buffers()[1], f"V{KEY_BYTES}", len(keys)), lengths


class TeacherStore:
    """An open store. Rows are numbered across segments in the store's order."""

    def __init__(self, store_dir: Path, manifest: Manifest) -> None:
        """Open what `manifest` (a store's own, or a view's) names.

        Raises:
            StoreIncompleteError: files are missing.
            StoreDamagedError: files differ from the manifest in size or structure.
        """
        check_files(store_dir, manifest)
        self.store_dir = store_dir
        self.manifest = manifest
        rows = [_read_rows(store_dir, segment) for segment in manifest.segments]
        keys = np.concatenate([keys for keys, _ in rows] or [np.empty(0, f"V{KEY_BYTES}")])
        self.lengths: NDArray[np.int64] = np.concatenate(
            [lengths for _, lengths in rows] or [np.empty(0, np.int64)]
        )
        """Tokens of each row."""
        sizes = [segment.n_rows for segment in manifest.segments]
        self._first_rows = np.cumsum([0, *sizes])
        self._order = np.argsort(keys.view(f"S{KEY_BYTES}"), kind="stable")
        self._sorted_keys = keys.view(f"S{KEY_BYTES}")[self._order]
        n_repeated = int((self._sorted_keys[1:] == self._sorted_keys[:-1]).sum())
        if n_repeated:
            raise StoreDamagedError(
                f"{store_dir} names {n_repeated:,} keys twice. Restore it with 'dvc checkout'."
            )
        self._arrays: dict[tuple[ArraySpec, int], tuple[Tensor, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the row number of each key.

        Raises:
            StoreIncompleteError: saying how many keys the store does not have.
        """
        wanted = keys.view(f"S{KEY_BYTES}")
        places = np.searchsorted(self._sorted_keys, wanted)
        places = np.minimum(places, max(len(self) - 1, 0))
        is_missing = (
            self._sorted_keys[places] != wanted if len(self) else np.ones(len(keys), dtype=bool)
        )
        if is_missing.any():
            raise StoreIncompleteError(
                f"{self.store_dir} lacks {int(is_missing.sum()):,} of {len(keys):,} rows. "
                "Run 'dvc repro capture' to add them."
            )
        return self._order[places]

    def logits(self, rows: Sequence[int]) -> Float[Tensor, "batch label"]:
        """Return the teacher's pre-softmax logits."""
        flat = self._gather(ArraySpec("logits"), rows)
        return flat.view(len(rows), self.manifest.teacher.n_labels)

    def cls(self, rows: Sequence[int]) -> Float[Tensor, "batch layer hidden"]:
        """Return the [CLS] states of all layers; layer 0 is the embedding output."""
        teacher = self.manifest.teacher
        flat = self._gather(ArraySpec("cls"), rows)
        return flat.view(len(rows), teacher.n_layers + 1, teacher.hidden_size)

    def attentions(self, rows: Sequence[int], layer: int) -> Float[Tensor, " element"]:
        """Return one layer's attention probabilities as one flat tensor.

        Row after row, each (head, query, key) over its own tokens, without padding.
        """
        return self._gather(ArraySpec("attentions", layer), rows)

    def _gather(self, array: ArraySpec, rows: Sequence[int]) -> Tensor:
        segments = np.searchsorted(self._first_rows, rows, side="right") - 1
        slices = []
        for row, segment in zip(rows, segments.tolist(), strict=True):
            values, offsets = self._open(array, segment)
            local = row - self._first_rows[segment]
            slices.append(values[offsets[local] : offsets[local + 1]])
        return torch.cat(slices)

    def _open(self, array: ArraySpec, index: int) -> tuple[Tensor, NDArray[np.int64]]:
        """Return an array's flat values and the offsets of its rows, mapped once."""
        if (array, index) not in self._arrays:
            self._arrays[array, index] = self._map(array, index)
        return self._arrays[array, index]

    def _map(self, array: ArraySpec, index: int) -> tuple[Tensor, NDArray[np.int64]]:
        segment = self.manifest.segments[index]
        record = segment.arrays.get(array.name)
        if record is None:
            raise StoreIncompleteError(
                f"{self.store_dir}: segment {segment.name} has no '{array.name}'; it holds "
                f"{', '.join(segment.arrays)}. Add it under capture.signals and run "
                "'dvc repro capture'."
            )
        shape = array.shape(segment.size, self.manifest.teacher)
        path = self.store_dir / chunk_file(array, segment.name)
        dtype = NUMPY_TYPES[record.encoding]
        n_elements = math.prod(shape)
        if path.stat().st_size != n_elements * dtype.itemsize + 4:
            raise StoreDamagedError(
                f"{path} has {path.stat().st_size:,} bytes, its shape {shape} as "
                f"{record.encoding} needs {n_elements * dtype.itemsize + 4:,}. "
                "Restore it with 'dvc checkout'."
            )
        # Copy-on-write, because torch has no read-only tensors; nothing here writes.
        mapped = np.memmap(path, dtype, mode="c", shape=(n_elements,))
        first, stop = self._first_rows[index], self._first_rows[index + 1]
        lengths = self.lengths[first:stop]
        per_row = _row_sizes(array, lengths, shape, self.manifest.teacher.n_heads)
        return torch.from_numpy(mapped), np.concatenate([[0], np.cumsum(per_row)])


def _row_sizes(
    array: ArraySpec, lengths: NDArray[np.int64], shape: tuple[int, ...], n_heads: int
) -> NDArray[np.int64]:
    if array.signal == "attentions":
        return n_heads * lengths**2
    return np.full(len(lengths), int(np.prod(shape[1:], dtype=np.int64)))


def open_store(store_dir: Path) -> TeacherStore:
    """Open a whole store for reading.

    Raises:
        StoreIncompleteError: there is no store there, or files of it are missing.
        StoreDamagedError: its files are not those its manifest describes.
    """
    return TeacherStore(store_dir, read_manifest(store_dir))
