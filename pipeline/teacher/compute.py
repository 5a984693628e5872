"""Compute pieces of work one after another; each is written while the next is computed.

The arrays of one segment come from forwards over its rows in batches of similar length.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pipeline.core.errors import DiskFullError, OutOfMemoryError, SignalError
from pipeline.core.processes import Processes
from pipeline.signals.axis import Axis
from pipeline.signals.cls import CLS_STATES, MOMENTS, segment_moments, with_moments
from pipeline.signals.signal import NO_LAYER, NUMPY_TYPES, Array, Arrays
from pipeline.store.encoding import TORCH_TYPES, as_numpy, as_tensor, decode, largest
from pipeline.store.writer import StoreWriter
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.teacher.work import DistinctRows, Work, batches_by_length
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens

_Values = TypeVar("_Values", Tensor, NDArray[np.generic])
SegmentArrays = dict[Array, NDArray[np.generic]]


class TokenBudget:
    """The padded tokens of a batch; it shrinks when the device's memory runs out."""

    def __init__(self, tokens: int, targets: int = 0) -> None:
        """`targets` is how many places may have logits of a whole vocabulary, if any have."""
        self.tokens = tokens
        self.targets = targets

    def halve(self, n_tokens: int) -> None:
        """Allow half of a batch that was too large."""
        self.tokens = n_tokens // 2
        torch.cuda.empty_cache()
        tqdm.write(f"capture: out of memory; going on with {self.tokens:,} tokens in a batch")


class SegmentRows:
    """The rows of one piece of work, with their lengths and their token ids."""

    def __init__(self, work: Work, rows: DistinctRows, tokens: Tokens) -> None:
        self.arrays = work.arrays
        table = work.table(rows)
        self.lengths: NDArray[np.int64] = table.lengths
        self.n_targets = table.n_targets
        self._rows = rows
        self._members = work.rows
        self._tokens = tokens

    def tokens(self, places: Sequence[int]) -> list[TokenRow]:
        """Return what the model reads of rows by their places in the segment."""
        splits, positions = self._rows.splits, self._rows.positions
        members = self._members[np.asarray(places)]
        return [self._tokens.splits[splits[row]].row(positions[row]) for row in members]

    def name(self, place: int) -> str:
        """Name a row as a user finds it in the data."""
        row = self._members[place]
        return f"row {self._rows.positions[row] + 1:,} of {self._rows.splits[row]}"


def compute(
    writer: StoreWriter,
    works: list[Work],
    rows: DistinctRows,
    tokens: Tokens,
    prepare: Callable[[Arrays], Extractor],
    budget: TokenBudget,
    processes: Processes,
) -> None:
    """Compute `works` and commit each; no more than two segments are in memory at a time.

    `prepare` sets the teacher up to give certain arrays.

    Raises:
        DiskFullError: saying how many pieces are committed.
        SignalError, OutOfMemoryError: as `compute_segment`.
    """
    n_tokens = sum(int(rows.lengths[work.rows].sum()) for work in works)
    share = f" ({processes.rank + 1} of {processes.count})" if processes.count > 1 else ""
    extractors: dict[tuple[Array, ...], Extractor] = {}
    written: list[Future[None]] = []
    with (
        tqdm(total=n_tokens, desc=f"capture{share}", unit="tok", unit_scale=True) as progress,
        ThreadPoolExecutor(max_workers=1) as disk,
    ):
        for work in works:
            wanted = tuple(work.arrays)
            if wanted not in extractors:
                extractors = {wanted: prepare(work.arrays)}  # one attention tap at a time
            table = work.table(rows)
            teacher = writer.manifest.teacher
            values = compute_segment(
                SegmentRows(work, rows, tokens),
                {array: array.shape(table.size(), teacher) for array in work.arrays},
                extractors[wanted],
                budget,
                progress,
            )
            _finish(written, len(works))
            written.append(disk.submit(_write, writer, work, rows, values))
        _finish(written, len(works))


def _finish(written: list[Future[None]], n_works: int) -> None:
    """Wait for the last segment to be written."""
    if not written:
        return
    try:
        written[-1].result()
    except DiskFullError as error:
        raise DiskFullError(
            f"{error} {len(written) - 1} of {n_works} segments of this run are committed and "
            "will not be computed again."
        ) from error


def _write(writer: StoreWriter, work: Work, rows: DistinctRows, values: SegmentArrays) -> None:
    """Write one segment's arrays and commit them."""
    if work.segment is None:
        draft = writer.add_segment(work.name, work.table(rows))
    else:
        draft = writer.extend_segment(work.segment)
    for array, encoding in with_moments(work.arrays).items():
        draft.write_array(array, values[array], encoding)
    draft.commit()
    if writer.is_main:
        writer.adopt_finished()


def compute_segment(
    rows: SegmentRows,
    shapes: Mapping[Array, tuple[int, ...]],
    extractor: Extractor,
    budget: TokenBudget,
    progress: "tqdm[NoReturn]",
) -> SegmentArrays:
    """Return every array of the segment, encoded and without padding.

    While one batch is computed, the one before is copied to its places.

    Raises:
        SignalError: a value is not finite or does not fit its encoding; names row, layer, value.
        OutOfMemoryError: a single row does not fit into the device's memory.
    """
    buffers: SegmentArrays = {
        array: np.empty(shapes[array], NUMPY_TYPES[encoding])
        for array, encoding in rows.arrays.items()
    }
    places = _Places(rows)

    def store(batch: list[int], extracted: Extracted) -> None:
        for array in extracted.misfits():
            _explain_misfit(rows, batch, array, extractor)
        for array, values in extracted.wait().items():
            places.fill(buffers[array], array, as_numpy(values), batch)
        progress.update(int(rows.lengths[batch].sum()))

    waiting = _batches(range(len(rows.lengths)), rows, budget)
    computed: tuple[list[int], Extracted] | None = None
    while waiting:
        batch = waiting.pop()
        try:
            extracted = extractor(rows.tokens(batch))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            n_tokens = len(batch) * int(rows.lengths[batch].max())
            if len(batch) == 1:
                raise OutOfMemoryError(
                    f"{rows.name(batch[0])} alone, of {n_tokens:,} tokens, does not fit into the "
                    "device's memory. Capture fewer layers at a time, or set runtime.device: cpu."
                ) from error
            del error
            budget.halve(n_tokens)
            left = [place for others in [batch, *waiting] for place in others]
            waiting = _batches(left, rows, budget)
            continue
        if computed is not None:
            store(*computed)
        computed = batch, extracted
    if computed is not None:
        store(*computed)
    if CLS_STATES in buffers:
        encoding = rows.arrays[CLS_STATES]
        stored = as_tensor(buffers[CLS_STATES], encoding)
        buffers[MOMENTS] = segment_moments(decode(stored, encoding)).numpy()
    return buffers


def _batches(places: Sequence[int], rows: SegmentRows, budget: TokenBudget) -> list[list[int]]:
    """Return the batches to compute, the next one last."""
    chosen = np.asarray(places)
    n_targets = None if rows.n_targets is None else rows.n_targets[chosen]
    lengths = rows.lengths[chosen].tolist()
    batches = batches_by_length(lengths, budget.tokens, n_targets, budget.targets)
    return [chosen[batch].tolist() for batch in batches][::-1]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


class _Places:
    """Where each row's values belong in a segment's arrays."""

    def __init__(self, rows: SegmentRows) -> None:
        self._rows = rows
        self._starts: dict[Axis, NDArray[np.int64]] = {}

    def fill(
        self,
        buffer: NDArray[np.generic],
        array: Array,
        values: NDArray[np.generic],
        batch: Sequence[int],
    ) -> None:
        """Copy a batch's values to where its rows belong, without padding."""
        if not array.axis.is_ragged:
            buffer[batch] = values
            return
        starts = self._starts_of(array.axis)
        width = buffer.size // max(1, int(starts[-1]))
        parts = without_padding(values, array, self._rows, batch)
        for row, real in zip(batch, parts, strict=True):
            first = width * starts[row]
            buffer[first : first + real.size].reshape(real.shape)[...] = real

    def _starts_of(self, axis: Axis) -> NDArray[np.int64]:
        if axis not in self._starts:
            counts = axis.count(self._rows.lengths, self._rows.n_targets)
            self._starts[axis] = np.concatenate([[0], np.cumsum(counts)])
        return self._starts[axis]


def without_padding(
    values: _Values, array: Array, rows: SegmentRows, batch: Sequence[int]
) -> Iterator[_Values]:
    """Yield what is real of each row in a batch, as `Extracted.wait` gives it."""
    n_before = 0
    for index, row in enumerate(batch):
        n_targets = 0 if rows.n_targets is None else int(rows.n_targets[row])
        if array.axis == Axis.TARGET and not array.signal.has_layers:
            yield values[n_before : n_before + n_targets]
            n_before += n_targets
            continue
        sides = array.axis.side_lengths(int(rows.lengths[row]), n_targets)
        yield _real(values[index], array, sides)


def _real(values: Any, array: Array, sides: tuple[int, ...]) -> Any:
    """Return what is no padding of one row's values; maps have heads in front."""
    heads = (slice(None),) if array.axis.is_pair else ()
    return values[(*heads, *map(slice, sides))] if sides else values


def _explain_misfit(
    rows: SegmentRows, batch: Sequence[int], array: Array, extractor: Extractor
) -> None:
    """Raise for the first real value that the encoding cannot hold; padding may be anything."""
    encoding = rows.arrays[array]
    limit = largest(encoding)
    computed = extractor.raw(rows.tokens(batch))[array]
    parts = without_padding(computed, array, rows, batch)
    for place, part in zip(batch, parts, strict=True):
        values = part.float()
        where = f"{rows.name(place)}, {_describe(array, values, limit)}"
        n_odd = int((~torch.isfinite(values)).sum())
        if n_odd:
            raise SignalError(
                f"{where}: {n_odd:,} values are not finite. The teacher diverged on this row; "
                "check its checkpoint, or capture with precision float32."
            )
        if TORCH_TYPES[encoding].is_floating_point:
            is_bad = ~torch.isfinite(values.to(TORCH_TYPES[encoding]))
        else:
            is_bad = (values > limit) | (values < 0)
        if is_bad.any():
            raise SignalError(
                f"{where}: {int(is_bad.sum()):,} values overflow {encoding} (largest "
                f"{float(values.abs().max()):,.0f}; limit {limit:,.0f}). Store this signal as "
                "float32."
            )


def _describe(array: Array, values: Tensor, limit: float) -> str:
    name, layer = array.signal.name, array.layer
    if array == CLS_STATES:
        is_bad = ~(values.abs() <= limit)
        layer = int(is_bad.any(1).nonzero()[0]) if is_bad.any() else NO_LAYER
    return name if layer == NO_LAYER else f"{name} of layer {layer}"
