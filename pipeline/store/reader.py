"""Reading a teacher store: any rows, in any order, at the speed of memory.

Every array is one uncompressed chunk, so its file is mapped into memory and a batch
is one gather of row slices; nothing is read that is not asked for. Opening reads the
manifest and asks for the files' sizes; the rows' keys are read when rows are looked up.
An open store can be pickled: it is then opened again where it is unpickled.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.axis import Axis
from pipeline.signals.cls import CLS_STATES, MOMENTS, join_moments
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import logits_array
from pipeline.signals.signal import NUMPY_TYPES, Array
from pipeline.signals.top_logits import TOP_PIECES, TopLogits, whole_top_k
from pipeline.store.files import check_present
from pipeline.store.manifest import Manifest, differing_fields, read_manifest
from pipeline.store.open_arrays import OpenArrays
from pipeline.store.spec import parse_array_name
from pipeline.store.stored_rows import Coverage, StoredRows
from pipeline.tasks import TASKS

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from pipeline.store.encoding import StoredSignal

_SMALLEST_BYTES = 256 * 2**10
"""Below this the allocator's own reuse is as good."""
_MOST_BYTES = 256 * 2**20
"""What is kept at most, in use or not; a batch of BERT-base with six maps has 76 MB."""

Rows = Sequence[int] | NDArray[np.int64]
"""Row numbers of a store, as `TeacherStore.find` returns them."""


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
        self._arrays = OpenArrays(store_dir, manifest, self.absent)
        if not may_lack_arrays:
            self.check_here(self.absent.arrays)
        self._rows = StoredRows(store_dir, manifest)
        self._memory = RecycledMemory()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the manifest, not the rows and the maps."""
        opener = partial(TeacherStore, may_lack_arrays=self._may_lack_arrays)
        return opener, (self.store_dir, self.manifest)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> NDArray[np.void]:
        """The key of every row, 16 raw bytes each."""
        return self._rows.table.keys

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of every row."""
        return self._rows.table.lengths

    @property
    def n_targets(self) -> NDArray[np.int64]:
        """The number of word pieces asked for of every row; 0 of all tasks that ask for none."""
        return self._rows.n_targets

    def check(
        self,
        *,
        tokenizer: PreTrainedTokenizerFast | None = None,
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
        self._arrays.check_here(names)

    def coverage(self, keys: NDArray[np.void]) -> Coverage:
        """Say which keys the store has, without raising for those that it lacks."""
        return self._rows.coverage(keys)

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

    def read(self, array: Array, rows: Rows) -> StoredSignal:
        """Return one array's values for these rows, in this order, as they are stored.

        Raises:
            StoreIncompleteError: the array was not captured for one of the rows.
            IndexError: there is no such row.
        """
        return self.read_many([array], rows)[array]

    def read_many(self, arrays: Iterable[Array], rows: Rows) -> dict[Array, StoredSignal]:
        """Return several arrays' values for the same rows, which are looked up once.

        Raises:
            StoreIncompleteError: an array was not captured for one of the rows.
            IndexError: there is no such row.
        """
        import torch

        from pipeline.store.encoding import StoredSignal, as_tensor

        numbers = np.asarray(rows, dtype=np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(
                f"rows {numbers.min()} to {numbers.max()}: {self.store_dir} has rows 0 to "
                f"{len(self) - 1}"
            )
        segments = self._rows.segments_of(numbers)
        indices: list[int] = segments.tolist()
        # Most arrays have their rows at the same places: all layers of a signal.
        places: dict[tuple[Axis, int], tuple[list[slice], int]] = {}
        signals = {}
        for array in arrays:
            opened = self._arrays.open(array, set(indices) or {0})
            place = array.axis, opened.width
            if place not in places:
                places[place] = self._rows.places(*place, numbers, segments)
            slices, n_values = places[place]
            kind = NUMPY_TYPES[opened.encoding]
            gathered = self._memory.take(n_values * kind.itemsize).view(kind)
            if slices:
                maps = opened.maps
                parts = [maps[index][part] for index, part in zip(indices, slices, strict=True)]
                np.concatenate(parts, out=gathered)
            values = as_tensor(gathered, opened.encoding)
            if opened.shape is not None:
                values = values.view(n_values // opened.width, *opened.shape)
            if array.signal == TOP_PIECES:
                self._check_pieces(values, array)
            map_lengths = None
            if opened.encoding == "uint8_cbrt":
                queries, keys = self._rows.map_sides(array.axis, numbers)
                map_lengths = torch.from_numpy(np.repeat(keys, opened.width * queries))
            signals[array] = StoredSignal(values, opened.encoding, map_lengths)
        return signals

    def row_bytes(self, arrays: Iterable[Array]) -> NDArray[np.int64]:
        """Return how many bytes each of the store's rows has in these arrays together.

        Raises:
            StoreIncompleteError: an array was not captured.
        """
        total = np.zeros(len(self), np.int64)
        for array in arrays:
            opened = self._arrays.describe(array, 0)
            total += opened.width_bytes * np.diff(self._rows.starts(array.axis))
        return total

    def expect(self, arrays: Iterable[Array], rows: NDArray[np.int64]) -> None:
        """Have the system fetch these rows (ascending) from the disk, ahead of their reading."""
        if sys.platform != "linux":
            return
        segments = self._rows.segments_of(rows)
        # Runs of neighbouring rows, each within one segment.
        is_break = (np.diff(rows) > 1) | (np.diff(segments) > 0)
        runs = np.split(np.arange(len(rows)), np.flatnonzero(is_break) + 1)
        for array in arrays:
            starts = self._rows.starts(array.axis)
            for run in runs:
                index = int(segments[run[0]])
                first, last = rows[run[0]], rows[run[-1]]
                parts = starts[[first, last + 1]] - starts[self._rows.first_rows[index]]
                self._arrays.expect(array, index, range(*parts.tolist()))

    def release(self) -> None:
        """Unmap all arrays: what was read of them no longer counts as this process's memory."""
        self._arrays.release()

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
        arrays = whole_top_k(map(parse_array_name, self.array_names()))
        signals = self.read_many(arrays, rows)
        return TopLogits(*(signals[array].decode() for array in arrays))

    def cls(self, rows: Rows) -> Float[Tensor, "batch layer hidden"]:
        """Return the [CLS] states of all layers; layer 0 is the embedding output."""
        return self.read(CLS_STATES, rows).decode()

    def hidden_states(self, rows: Rows, layer: int) -> Float[Tensor, "token hidden"]:
        """Return one layer's token states, row after row, without padding."""
        return self.read(Array(HIDDEN_STATES, layer), rows).decode()

    def attentions(self, rows: Rows, layer: int) -> Float[Tensor, " element"]:
        """Return one layer's attention probabilities as one flat tensor.

        Row after row, each (head, query, key) over its own tokens, without padding.
        """
        return self.read(Array(ATTENTIONS, layer), rows).decode()

    def mean_attentions(self, rows: Rows, layer: int) -> Float[Tensor, " element"]:
        """Return one layer's attention probabilities, averaged over heads.

        One flat tensor, row after row, each (query, key) over its own tokens.
        """
        return self.read(Array(ATTENTIONS, layer, "mean"), rows).decode()

    def cls_moments(self) -> Float[Tensor, "moment layer hidden"]:
        """Return mean and standard deviation of the [CLS] states over all rows, by layer.

        Raises:
            StoreIncompleteError: [CLS] was not captured.
        """
        import torch

        parts = []
        for index, segment in enumerate(self.manifest.segments):
            shape = MOMENTS.shape(segment.size, self.manifest.teacher)
            values = self._arrays.open(MOMENTS, {index}).maps[index].astype(np.float64)
            parts.append(torch.from_numpy(values.reshape(shape)))
        n_rows = torch.tensor(np.diff(self._rows.first_rows))
        return join_moments(torch.stack(parts, 1), n_rows)

    def _check_pieces(self, pieces: Int[Tensor, "target k"], array: Array) -> None:
        """Refuse word pieces that there are none of: nothing could be looked up by them."""
        if not pieces.numel():
            return
        lowest, highest = pieces.aminmax()
        if lowest < 0 or highest >= self.manifest.teacher.n_labels:
            raise StoreDamagedError(
                f"{self.store_dir}: {array.name} has word pieces {int(lowest):,} to "
                f"{int(highest):,} of a vocabulary of {self.manifest.teacher.n_labels:,}. Run "
                f"'decant verify {self.store_dir}'."
            )


def open_store(store_dir: Path | str) -> TeacherStore:
    """Open a store for reading; arrays that were not fetched are refused when they are read.

    Raises:
        StoreIncompleteError: there is no store there, or files of it are missing.
        StoreDamagedError: its files are not those its manifest describes.
    """
    manifest = read_manifest(Path(store_dir))
    return TeacherStore(Path(store_dir), manifest, may_lack_arrays=True)


class RecycledMemory:
    """Hands out memory for batches; whatever still refers to a piece keeps it from being reused.

    The system clears a large new allocation before the reader fills it, which takes as long as
    filling it; the allocator gives most of it back as soon as a batch is dropped.
    """

    def __init__(self) -> None:
        self._kept: deque[NDArray[np.uint8]] = deque()
        # What Python counts for a buffer that nobody uses differs between its versions.
        _, self._references_when_free = _pop(deque([np.empty(1, np.uint8)]))

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """Return memory of that size with anything in it."""
        if size_bytes < _SMALLEST_BYTES:
            return np.empty(size_bytes, np.uint8)
        for _ in range(len(self._kept)):
            try:
                # The last one used may still be in the processor's cache. No other thread can
                # see a buffer that was taken out.
                buffer, n_references = _pop(self._kept)
            except IndexError:
                break
            is_free = n_references == self._references_when_free
            fits = size_bytes <= len(buffer) <= 2 * size_bytes
            if is_free and fits:
                view = buffer[:size_bytes]
                self._kept.append(buffer)
                return view
            self._kept.appendleft(buffer)
        buffer = np.empty(size_bytes + size_bytes // 4, np.uint8)
        view = buffer[:size_bytes]
        self._kept.append(buffer)
        while sum(len(kept) for kept in tuple(self._kept)) > _MOST_BYTES:
            self._kept.popleft()
        return view


def _pop(buffers: deque[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int]:
    """Take the last buffer out; return it with the number of references to it."""
    buffer = buffers.pop()
    return buffer, sys.getrefcount(buffer)
