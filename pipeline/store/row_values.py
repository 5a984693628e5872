"""A store's values as float32 tensors in the shapes that training code works with.

Arrays go by their names in the store: `logits`, `logits/tokens`, `cls`, `hidden_states/06`,
`attentions/06`, `attentions/06-mean`. Training inside this project reads flat values
instead (`TeacherStore.read`) and pads nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pipeline.store.reader import Rows, TeacherStore
from pipeline.store.spec import CLS_MOMENTS, ArraySpec, parse_array_name
from pipeline.store.stored_signal import StoredSignal


def array_names(store: TeacherStore) -> list[str]:
    """Return the names of the arrays that all rows have, and that are here."""
    return sorted(store.array_names() - {CLS_MOMENTS.name})


def read_ragged(
    store: TeacherStore, rows: Rows, names: Iterable[str] | None = None
) -> dict[str, list[Float[Tensor, "..."]]]:
    """Return one tensor for each row, by array name; all arrays where `names` is None.

    Shapes: `logits` (label,) and `logits/tokens` (token, label), pre-softmax; `cls` (layer,
    hidden), layer 0 is the embedding output; `hidden_states/06` (token, hidden);
    `attentions/06` (head, query, key) and `attentions/06-mean` (query, key), post-softmax.
    Tokens are those of the row alone.

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
) -> dict[str, Float[Tensor, "batch ..."]]:
    """Return one tensor for all rows, by array name; all arrays where `names` is None.

    As `read_ragged`, with a batch axis in front; token axes are as long as the longest of
    the rows, which begin at token 0, and zero behind them.

    Raises:
        StoreIncompleteError: an array was not captured.
        ValueError: there is no array of that name in any store.
    """
    return {name: stack(name, values) for name, values in read_ragged(store, rows, names).items()}


def iterate(
    store: TeacherStore, names: Iterable[str] | None = None, batch_size: int = 256
) -> Iterator[tuple[NDArray[np.void], dict[str, list[Float[Tensor, "..."]]]]]:
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
    values: Sequence[Float[Tensor, "..."]],
    n_tokens: int | None = None,
    first_tokens: Sequence[int] | None = None,
) -> Float[Tensor, "batch ..."]:
    """Return the values of some rows in the array `name` as one tensor, padded with zeros.

    `n_tokens` is the padded length, by default that of the longest row; `first_tokens` is
    the position of each row's first token, by default 0.
    """
    array = parse_array_name(name)
    if not array.is_ragged:
        return torch.stack(list(values))
    lengths = [value.shape[-1 if array.signal == "attentions" else 0] for value in values]
    length = max(lengths) if n_tokens is None else n_tokens
    starts = [0] * len(values) if first_tokens is None else first_tokens
    if array.is_by_token:
        padded = values[0].new_zeros(len(values), length, values[0].shape[1])
        for row, value, start in zip(padded, values, starts, strict=True):
            row[start : start + len(value)] = value
        return padded
    padded = values[0].new_zeros(len(values), *values[0].shape[:-2], length, length)
    for row, value, start in zip(padded, values, starts, strict=True):
        stop = start + value.shape[-1]
        row[..., start:stop, start:stop] = value
    return padded


def _split(
    store: TeacherStore, array: ArraySpec, rows: NDArray[np.int64], signal: StoredSignal
) -> list[Float[Tensor, "..."]]:
    decoded = signal.decode()
    if not array.is_ragged:
        return list(decoded)
    lengths: list[int] = store.lengths[rows].tolist()
    if array.is_by_token:
        return list(torch.split(decoded, lengths))
    teacher = store.manifest.teacher
    heads = [] if array.heads == "mean" else [teacher.n_heads]
    n_maps = array.n_maps(teacher)
    parts = torch.split(decoded, [n_maps * length**2 for length in lengths])
    return [part.view(*heads, length, length) for part, length in zip(parts, lengths, strict=True)]
