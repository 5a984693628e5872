"""A store's values as float32 tensors in the shapes that training code works with.

Arrays go by their names in the store: `logits`, `logits/tokens`, `logits/top-64`, `cls`,
`hidden_states/06`, `attentions/06`, `attentions/06-mean`. Training inside this project reads
flat values instead (`TeacherStore.read`) and pads nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from torch import Tensor

from pipeline.signals.cls import MOMENTS
from pipeline.signals.signal import Array
from pipeline.store.encoding import StoredSignal
from pipeline.store.reader import Rows, TeacherStore
from pipeline.store.spec import parse_array_name


def array_names(store: TeacherStore) -> list[str]:
    """Return the names of the arrays that all rows have, and that are here."""
    return sorted(store.array_names() - {MOMENTS.name})


def read_ragged(
    store: TeacherStore, rows: Rows, names: Iterable[str] | None = None
) -> dict[str, list[Shaped[Tensor, "..."]]]:
    """Return one tensor for each row, by array name; all arrays where `names` is None.

    Shapes: `logits` (label,) and `logits/tokens` (token, label), pre-softmax; `cls` (layer,
    hidden), layer 0 is the embedding output; `hidden_states/06` (token, hidden);
    `attentions/06` (head, query, key) and `attentions/06-mean` (query, key), post-softmax.
    Of a teacher that predicts word pieces: `logits/top-64` and, as int64, `logits/top-64-pieces`
    (target, k); `logits/log_sum_exp` and `logits/target` (target,). Of its decoder, whose tokens
    are the targets: `hidden_states/decoder-06` and `attentions/decoder-06`, and
    `attentions/cross-06` from targets to tokens. Tokens and targets are those of the row alone.

    Raises:
        StoreIncompleteError: an array was not captured.
        ValueError: there is no array of that name in any store.
    """
    arrays = [parse_array_name(name) for name in (array_names(store) if names is None else names)]
    numbers = np.asarray(rows, dtype=np.int64)
    return {
        array.name: _split(store, array, numbers, signal)
        for array, signal in store.read_many(arrays, numbers).items()
    }


def read_padded(
    store: TeacherStore, rows: Rows, names: Iterable[str] | None = None
) -> dict[str, Shaped[Tensor, "batch ..."]]:
    """Return one tensor for all rows, by array name; all arrays where `names` is None.

    As `read_ragged`, with a batch axis in front; token axes, and those of targets, are as long
    as the longest of the rows, which begin at 0, and zero behind them.

    Raises:
        StoreIncompleteError: an array was not captured.
        ValueError: there is no array of that name in any store.
    """
    return {name: stack(name, values) for name, values in read_ragged(store, rows, names).items()}


def iterate(
    store: TeacherStore, names: Iterable[str] | None = None, batch_size: int = 256
) -> Iterator[tuple[NDArray[np.void], dict[str, list[Shaped[Tensor, "..."]]]]]:
    """Yield all rows in the store's order: their keys, and their values as `read_ragged` does.

    Only one segment is mapped into memory at a time. A batch may be smaller than
    `batch_size`: none spans two segments.

    Raises:
        StoreIncompleteError: an array was not captured.
    """
    wanted = array_names(store) if names is None else list(names)
    for segment in store.manifest.segments:
        cut = store.manifest.model_copy(update={"segments": (segment,)})
        part = TeacherStore(store.store_dir, cut, may_lack_arrays=True)
        for first in range(0, len(part), batch_size):
            rows = range(first, min(first + batch_size, len(part)))
            yield part.keys[rows.start : rows.stop], read_ragged(part, rows, wanted)


def stack(
    name: str,
    values: Sequence[Shaped[Tensor, "..."]],
    n_tokens: int | None = None,
    first_tokens: Sequence[int] | None = None,
) -> Shaped[Tensor, "batch ..."]:
    """Return the values of some rows in the array `name` as one tensor, padded with zeros.

    `n_tokens` is the padded length, by default that of the longest row; `first_tokens` is
    the position of each row's first token, by default 0. Targets begin at 0, and are as many as
    those of the row with the most.
    """
    array = parse_array_name(name)
    sides = array.axis.sides
    if not sides:
        return torch.stack(list(values))
    first_side = values[0].ndim - 2 if array.axis.is_pair else 0
    shape = list(values[0].shape)
    for axis, side in enumerate(sides, first_side):
        shape[axis] = max(value.shape[axis] for value in values)
        if side == "token" and n_tokens is not None:
            shape[axis] = n_tokens
    padded = values[0].new_zeros(len(values), *shape)
    starts = [0] * len(values) if first_tokens is None else first_tokens
    for row, value, start in zip(padded, values, starts, strict=True):
        place = [slice(None)] * value.ndim
        for axis, side in enumerate(sides, first_side):
            first = start if side == "token" else 0
            place[axis] = slice(first, first + value.shape[axis])
        row[tuple(place)] = value
    return padded


def _split(
    store: TeacherStore, array: Array, rows: NDArray[np.int64], signal: StoredSignal
) -> list[Shaped[Tensor, "..."]]:
    decoded = signal.decode()
    if not array.axis.is_ragged:
        return list(decoded)
    n_tokens, n_targets = store.lengths[rows], store.n_targets[rows]
    counts = array.axis.count(n_tokens, n_targets)
    if not array.axis.is_pair:
        return list(torch.split(decoded, counts.tolist()))
    (n_maps,) = array.width(store.manifest.teacher)
    heads = [] if array.heads == "mean" else [n_maps]
    parts = torch.split(decoded, (n_maps * counts).tolist())
    queries, keys = array.axis.side_lengths(n_tokens, n_targets)
    return [
        part.view(*heads, n_queries, n_keys)
        for part, n_queries, n_keys in zip(parts, queries.tolist(), keys.tolist(), strict=True)
    ]
