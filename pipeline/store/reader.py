"""Reading a teacher store: any rows, in any order, at the speed of memory.

Every array is one uncompressed chunk, so its file is mapped into memory and a batch
is one gather of row slices; nothing is read that is not asked for. Opening reads the
manifest and asks for the files' sizes; the rows' keys are read when rows are looked up.
An open store can be pickled: it is then opened again where it is unpickled.
"""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.fingerprint import KEY_BYTES, digest_tokenizer
from pipeline.store.encoding import NUMPY_TYPES, as_tensor
from pipeline.store.key_index import KeyIndex
from pipeline.store.manifest import (
    ArrayRecord,
    Manifest,
    differing_fields,
    read_manifest,
)
from pipeline.store.mapped_array import MappedArray, has_room, map_file
from pipeline.store.pieces import TopLogits, top_arrays
from pipeline.store.presence import check_present, signal_option
from pipeline.store.recycling import RecycledMemory
from pipeline.store.row_table import RowTable, read_row_table
from pipeline.store.segment_size import Part, parts_of
from pipeline.store.spec import (
    CLS,
    CLS_MOMENTS,
    ArraySpec,
    chunk_file,
    logits_array,
    parse_array_name,
)
from pipeline.store.stored_signal import StoredSignal
from pipeline.tasks import TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Rows = Sequence[int] | NDArray[np.int64]
"""Row numbers of a store, as `TeacherStore.find` returns them."""

_KEY = np.dtype(f"V{KEY_BYTES}")


@dataclass(frozen=True)
class Coverage:
    """Which of some examples a store has."""

    rows: NDArray[np.int64]
    """The store's row of each example, -1 where there is none."""

    @property
    def found(self) -> NDArray[np.int64]:
        """The positions of the examples that the store has."""
        return np.flatnonzero(self.rows >= 0)

    @property
    def missing(self) -> NDArray[np.int64]:
        """The positions of those that it lacks."""
        return np.flatnonzero(self.rows < 0)


class TeacherStore:
    """An open store. Rows are numbered across segments in the store's order."""

    def __init__(
        self, store_dir: Path, manifest: Manifest, *, may_lack_arrays: bool = False
    ) -> None:
        """Open what `manifest` (a store's own, or a view's) names.

        A store that `may_lack_arrays` says that one is not here when it is read. The
        teacher's weights are never asked for.

        Raises:
            StoreIncompleteError: files are missing.
            StoreDamagedError: files differ from the manifest in size or structure.
        """
        self.absent = check_present(store_dir, manifest)
        self.store_dir = store_dir
        self.manifest = manifest
        self._may_lack_arrays = may_lack_arrays
        if not may_lack_arrays:
            self.check_here(self.absent.arrays)
        sizes = [segment.n_rows for segment in manifest.segments]
        self._first_rows: NDArray[np.int64] = np.cumsum([0, *sizes])
        self._arrays: dict[ArraySpec, MappedArray] = {}
        self._mapped_bytes = 0
        self._part_starts: dict[Part, NDArray[np.int64]] = {}
        self._memory = RecycledMemory()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the manifest, not the rows and the maps."""
        opener = partial(TeacherStore, may_lack_arrays=self._may_lack_arrays)
        return opener, (self.store_dir, self.manifest)

    def __len__(self) -> int:
        return int(self._first_rows[-1])

    @cached_property
    def _table(self) -> RowTable:
        """The rows of all segments."""
        tables = [read_row_table(self.store_dir, segment) for segment in self.manifest.segments]
        return RowTable(
            keys=np.concatenate([table.keys for table in tables] or [np.empty(0, _KEY)]),
            lengths=np.concatenate([table.lengths for table in tables] or [np.empty(0, np.int64)]),
            n_targets=np.concatenate(
                [_targets(table) for table in tables] or [np.empty(0, np.int64)]
            ),
        )

    @property
    def keys(self) -> NDArray[np.void]:
        """The key of every row, 16 raw bytes each."""
        return self._table.keys

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of every row."""
        return self._table.lengths

    @property
    def n_targets(self) -> NDArray[np.int64]:
        """The number of word pieces asked for of every row; 0 of all tasks that ask for none."""
        assert self._table.n_targets is not None
        return self._table.n_targets

    @cached_property
    def _index(self) -> KeyIndex:
        index = KeyIndex(self.keys)
        n_repeated = index.n_repeated()
        if n_repeated:
            raise StoreDamagedError(
                f"{self.store_dir} names {n_repeated:,} keys twice. Restore it with 'dvc checkout'."
            )
        return index

    def check(
        self,
        *,
        tokenizer: "PreTrainedTokenizerFast | None" = None,
        labels: Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> None:
        """Refuse a tokenizer, label names (in order) or length limit other than the store's.

        What is None is not compared.

        Raises:
            StoreMismatchError: naming each differing field and both values.
        """
        stored = self.manifest.identity
        asked: dict[str, Any] = {}
        if tokenizer is not None:
            asked["tokenizer"] = digest_tokenizer(tokenizer)
        if labels is not None:
            asked["labels"] = tuple(labels)
        if max_length is not None:
            asked["max_length"] = max_length
        faults = differing_fields(stored, stored.model_copy(update=asked))
        if faults:
            raise StoreMismatchError(
                f"{self.store_dir} was captured with {faults}. Use the store's tokenizer (in its "
                "folder 'teacher'), labels and length limit, or a store captured with yours."
            )

    def array_names(self) -> set[str]:
        """Return the arrays that all rows have, and that are here."""
        return self.manifest.array_names() - self.absent.arrays.keys()

    def check_here(self, names: Iterable[str]) -> None:
        """Refuse arrays that were captured, but are not here because they were not fetched.

        Raises:
            StoreIncompleteError: naming the first, and the command that brings it.
        """
        for name in sorted(self.absent.arrays.keys() & set(names)):
            raise StoreIncompleteError(
                f"{self.store_dir} is partial: '{name}' was captured, but is not here for "
                f"{len(self.absent.arrays[name])} of {len(self.manifest.segments)} segments. Run "
                f"'decant fetch {self.store_dir} --signal {signal_option(name)}' to bring it."
            )

    def coverage(self, keys: NDArray[np.void]) -> Coverage:
        """Say which keys the store has, without raising for those that it lacks."""
        return Coverage(self._index.find(keys))

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the row number of each key.

        Raises:
            StoreIncompleteError: saying how many keys the store does not have.
        """
        coverage = self.coverage(keys)
        n_missing = len(coverage.missing)
        if n_missing:
            raise StoreIncompleteError(
                f"{self.store_dir} lacks {n_missing:,} of {len(keys):,} rows. "
                "Run 'dvc repro capture' to add them."
            )
        return coverage.rows

    def read(self, array: ArraySpec, rows: Rows) -> StoredSignal:
        """Return one array's values for these rows, in this order, as they are stored.

        Raises:
            StoreIncompleteError: the array was not captured for one of the rows.
            IndexError: there is no such row.
        """
        return self.read_many([array], rows)[array]

    def read_many(self, arrays: Iterable[ArraySpec], rows: Rows) -> dict[ArraySpec, StoredSignal]:
        """Return several arrays' values for the same rows, which are looked up once.

        Raises:
            StoreIncompleteError: an array was not captured for one of the rows.
            IndexError: there is no such row.
        """
        numbers = np.asarray(rows, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(
                f"rows {numbers.min()} to {numbers.max()}: {self.store_dir} has rows 0 to "
                f"{len(self) - 1}"
            )
        segments = np.searchsorted(self._first_rows, numbers, side="right") - 1
        indices: list[int] = segments.tolist()
        # Most arrays have their rows at the same places: all layers of a signal.
        places: dict[tuple[Part, int], tuple[list[slice], int]] = {}
        signals = {}
        for array in arrays:
            opened = self._open(array, set(indices) or {0})
            place = array.part, opened.width
            if place not in places:
                places[place] = self._places(array, opened.width, numbers, segments)
            slices, n_values = places[place]
            kind = NUMPY_TYPES[opened.encoding]
            gathered = self._memory.take(n_values * kind.itemsize).view(kind)
            if slices:
                maps = opened.maps
                parts = [maps[index][part] for index, part in zip(indices, slices, strict=True)]
                np.concatenate(parts, out=gathered)
            values = as_tensor(gathered, opened.encoding)
            if opened.part_shape is not None:
                values = values.view(n_values // opened.width, *opened.part_shape)
            if array.signal == "top_pieces":
                self._check_pieces(values, array)
            map_lengths = None
            if opened.encoding == "uint8_cbrt":
                queries, keys = self._map_sides(array, numbers)
                map_lengths = keys.repeat_interleave(opened.width * queries)
            signals[array] = StoredSignal(values, opened.encoding, map_lengths)
        return signals

    def row_bytes(self, arrays: Iterable[ArraySpec]) -> NDArray[np.int64]:
        """Return how many bytes each of the store's rows has in these arrays together.

        Raises:
            StoreIncompleteError: an array was not captured.
        """
        total = np.zeros(len(self), np.int64)
        for array in arrays:
            opened = self._described(array, 0)
            total += opened.part_bytes * np.diff(self._starts(array.part))
        return total

    def expect(self, arrays: Iterable[ArraySpec], rows: NDArray[np.int64]) -> None:
        """Have the system fetch these rows (ascending) from the disk, ahead of their reading."""
        if sys.platform != "linux":
            return
        segments = np.searchsorted(self._first_rows, rows, side="right") - 1
        # Runs of neighbouring rows, each within one segment.
        is_break = (np.diff(rows) > 1) | (np.diff(segments) > 0)
        runs = np.split(np.arange(len(rows)), np.flatnonzero(is_break) + 1)
        for array in arrays:
            for run in runs:
                index = int(segments[run[0]])
                opened = self._described(array, index)
                starts = self._starts(array.part)
                first, last = rows[run[0]], rows[run[-1]]
                begin = opened.part_bytes * int(starts[first] - starts[self._first_rows[index]])
                size = opened.part_bytes * int(starts[last + 1] - starts[first])
                name = self.manifest.segments[index].name
                with (self.store_dir / chunk_file(array, name)).open("rb") as file:
                    os.posix_fadvise(file.fileno(), begin, size, os.POSIX_FADV_WILLNEED)

    def release(self) -> None:
        """Unmap all arrays: what was read of them no longer counts as this process's memory."""
        self._release_all_but(None, set())

    def logits(self, rows: Rows) -> Float[Tensor, "flat label"]:
        """Return the teacher's pre-softmax logits.

        Those of each row; of a teacher of words, those of each token, row after row. Of a
        teacher of word pieces only the largest are stored: see `top_logits`.

        Raises:
            StoreIncompleteError: they were not captured.
        """
        return self.read(logits_array(TASKS[self.manifest.identity.task].predicts), rows).decode()

    def top_logits(self, rows: Rows) -> TopLogits:
        """Return what the teacher predicts at each target, row after row.

        Raises:
            StoreIncompleteError: it was not captured.
        """
        arrays = top_arrays(map(parse_array_name, self.array_names()))
        signals = self.read_many(arrays, rows)
        return TopLogits(*(signals[array].decode() for array in arrays))

    def cls(self, rows: Rows) -> Float[Tensor, "batch layer hidden"]:
        """Return the [CLS] states of all layers; layer 0 is the embedding output."""
        return self.read(CLS, rows).decode()

    def hidden_states(self, rows: Rows, layer: int) -> Float[Tensor, "token hidden"]:
        """Return one layer's token states, row after row, without padding."""
        return self.read(ArraySpec("hidden_states", layer), rows).decode()

    def attentions(self, rows: Rows, layer: int) -> Float[Tensor, " element"]:
        """Return one layer's attention probabilities as one flat tensor.

        Row after row, each (head, query, key) over its own tokens, without padding.
        """
        return self.read(ArraySpec("attentions", layer), rows).decode()

    def mean_attentions(self, rows: Rows, layer: int) -> Float[Tensor, " element"]:
        """Return one layer's attention probabilities, averaged over heads.

        One flat tensor, row after row, each (query, key) over its own tokens.
        """
        return self.read(ArraySpec("attentions", layer, "mean"), rows).decode()

    def cls_moments(self) -> tuple[Float[Tensor, "layer hidden"], Float[Tensor, "layer hidden"]]:
        """Return mean and standard deviation of the [CLS] states over all rows, by layer.

        Those of the segments are put together (Chan et al. 1979, equation 2.1).

        Raises:
            StoreIncompleteError: [CLS] was not captured.
        """
        parts = []
        for index, segment in enumerate(self.manifest.segments):
            shape = CLS_MOMENTS.shape(segment.size, self.manifest.teacher)
            values = self._open(CLS_MOMENTS, {index}).maps[index].astype(np.float64)
            parts.append(torch.from_numpy(values.reshape(shape)))
        weights = torch.tensor(np.diff(self._first_rows), dtype=torch.float64)
        weights = (weights / weights.sum())[:, None, None]
        means, deviations = torch.stack(parts, 1)
        mean = (weights * means).sum(0)
        variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(0)
        return mean.float(), variance.sqrt().float()

    def _places(
        self,
        array: ArraySpec,
        width: int,
        rows: NDArray[np.int64],
        segments: NDArray[np.int64],
    ) -> tuple[list[slice], int]:
        """Return which elements of its segment's array each row has, and how many all have."""
        starts = self._starts(array.part)
        before = starts[self._first_rows[segments]]
        begins = width * (starts[rows] - before)
        ends = width * (starts[rows + 1] - before)
        return list(map(slice, begins.tolist(), ends.tolist())), int((ends - begins).sum())

    def _starts(self, part: Part) -> NDArray[np.int64]:
        """Return how many such parts the rows before each have."""
        if part not in self._part_starts:
            counts = parts_of(part, self.lengths, self.n_targets)
            self._part_starts[part] = np.concatenate([[0], np.cumsum(counts)])
        return self._part_starts[part]

    def _map_sides(
        self, array: ArraySpec, rows: NDArray[np.int64]
    ) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
        """Return how many queries and how many keys each row has in an array of maps."""
        n_tokens, n_targets = self.lengths[rows], self.n_targets[rows]
        queries = n_targets if array.is_by_target else n_tokens
        keys = n_targets if array.part == "target_pair" else n_tokens
        return torch.from_numpy(queries), torch.from_numpy(keys)

    def _check_pieces(self, pieces: Int[Tensor, "target k"], array: ArraySpec) -> None:
        """Refuse word pieces that there are none of: nothing could be looked up by them."""
        if not pieces.numel():
            return
        lowest, highest = torch.aminmax(pieces)
        if lowest < 0 or highest >= self.manifest.teacher.n_labels:
            raise StoreDamagedError(
                f"{self.store_dir}: {array.name} has word pieces {int(lowest):,} to "
                f"{int(highest):,} of a vocabulary of {self.manifest.teacher.n_labels:,}. Run "
                f"'decant verify {self.store_dir}'."
            )

    def _open(self, array: ArraySpec, segments: set[int]) -> MappedArray:
        """Return an array that is mapped in these segments at least."""
        opened = self._described(array, min(segments))
        for index in segments - opened.maps.keys():
            values = self._map(array, index)
            if not has_room(values.nbytes, self._mapped_bytes):
                self._release_all_but(opened, segments)
            opened.maps[index] = values
            self._mapped_bytes += values.nbytes
        return opened

    def _map(self, array: ArraySpec, index: int) -> NDArray[np.generic]:
        """Return one segment's array, flat, mapped into memory."""
        segment = self.manifest.segments[index]
        # The manifest's sizes agree with the shape, and the file's with the manifest.
        return map_file(
            self.store_dir / chunk_file(array, segment.name),
            array.shape(segment.size, self.manifest.teacher),
            self._record(array, index).encoding,
        )

    def _release_all_but(self, kept: MappedArray | None, segments: set[int]) -> None:
        for opened in self._arrays.values():
            for index in list(opened.maps):
                if opened is not kept or index not in segments:
                    self._mapped_bytes -= opened.maps.pop(index).nbytes

    def _described(self, array: ArraySpec, segment: int) -> MappedArray:
        """Return an array, mapped or not, that a segment must have."""
        encoding = self._record(array, segment).encoding
        if array not in self._arrays:
            teacher = self.manifest.teacher
            shape = array.part_shape(teacher)
            self._arrays[array] = MappedArray(
                encoding, math.prod(shape), None if array.is_map else shape
            )
        return self._arrays[array]

    def _record(self, array: ArraySpec, index: int) -> ArrayRecord:
        """Return what the manifest says of one segment's array."""
        segment = self.manifest.segments[index]
        record = segment.arrays.get(array.name)
        if record is None:
            raise StoreIncompleteError(
                f"{self.store_dir}: segment {segment.name} has no '{array.name}'; it holds "
                f"{', '.join(segment.arrays)}. Add it under capture.signals and run "
                "'dvc repro capture'."
            )
        if segment.name in self.absent.arrays.get(array.name, ()):
            self.check_here([array.name])
        return record


def _targets(table: RowTable) -> NDArray[np.int64]:
    return np.zeros_like(table.lengths) if table.n_targets is None else table.n_targets


def open_store(store_dir: Path | str) -> TeacherStore:
    """Open a store for reading; arrays that were not fetched are refused when they are read.

    Raises:
        StoreIncompleteError: there is no store there, or files of it are missing.
        StoreDamagedError: its files are not those its manifest describes.
    """
    manifest = read_manifest(Path(store_dir))
    return TeacherStore(Path(store_dir), manifest, may_lack_arrays=True)
