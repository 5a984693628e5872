"""The arrays of one segment, from forwards over its rows in batches of similar length."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pipeline.core.errors import OutOfMemoryError, SignalError
from pipeline.store.encoding import TORCH_TYPES, as_numpy, as_tensor, decode, largest
from pipeline.store.segment_size import Part, parts_of
from pipeline.store.spec import CLS, CLS_MOMENTS, NUMPY_TYPES, ArraySpec, Encoding
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.teacher.work import DistinctRows, Work, batches_by_length
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens

_Values = TypeVar("_Values", Tensor, NDArray[np.generic])
SegmentArrays = dict[ArraySpec, NDArray[np.generic]]


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


def compute_segment(
    rows: SegmentRows,
    shapes: Mapping[ArraySpec, tuple[int, ...]],
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
    if CLS in buffers:
        buffers[CLS_MOMENTS] = _moments(buffers[CLS], rows.arrays[CLS])
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
        self._starts: dict[Part, NDArray[np.int64]] = {}

    def fill(
        self,
        buffer: NDArray[np.generic],
        array: ArraySpec,
        values: NDArray[np.generic],
        batch: Sequence[int],
    ) -> None:
        """Copy a batch's values to where its rows belong, without padding."""
        if not array.is_ragged:
            buffer[batch] = values
            return
        starts = self._starts_of(array.part)
        width = buffer.size // max(1, int(starts[-1]))
        parts = without_padding(values, array, self._rows, batch)
        for row, real in zip(batch, parts, strict=True):
            first = width * starts[row]
            buffer[first : first + real.size].reshape(real.shape)[...] = real

    def _starts_of(self, part: Part) -> NDArray[np.int64]:
        if part not in self._starts:
            counts = parts_of(part, self._rows.lengths, self._rows.n_targets)
            self._starts[part] = np.concatenate([[0], np.cumsum(counts)])
        return self._starts[part]


def without_padding(
    values: _Values, array: ArraySpec, rows: SegmentRows, batch: Sequence[int]
) -> Iterator[_Values]:
    """Yield what is real of each row in a batch, as `Extracted.wait` gives it."""
    n_before = 0
    for index, row in enumerate(batch):
        n_tokens = rows.lengths[row]
        n_targets = 0 if rows.n_targets is None else rows.n_targets[row]
        if array.is_by_target and not array.has_layers:
            yield values[n_before : n_before + n_targets]
            n_before += n_targets
        elif array.is_map:
            n_queries, n_keys = array.sides(n_tokens, n_targets)
            yield values[index, :, :n_queries, :n_keys]
        elif array.is_ragged:
            yield values[index, : n_targets if array.is_by_target else n_tokens]
        else:
            yield values[index]


def _moments(cls: NDArray[np.generic], encoding: Encoding) -> NDArray[np.float32]:
    """Return mean and standard deviation over a segment's rows, (moment, layer, hidden)."""
    states = decode(as_tensor(cls, encoding), encoding).double()
    moments = torch.stack([states.mean(0), states.std(0, correction=0)])
    result: NDArray[np.float32] = moments.float().numpy()
    return result


def _explain_misfit(
    rows: SegmentRows, batch: Sequence[int], array: ArraySpec, extractor: Extractor
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


def _describe(array: ArraySpec, values: Tensor, limit: float) -> str:
    if array.has_layers:
        return f"{array.signal} of layer {array.layer}"
    if array == CLS:
        is_bad = ~(values.abs() <= limit)
        return f"cls of layer {int(is_bad.any(1).nonzero()[0])}" if is_bad.any() else "cls"
    return array.signal
