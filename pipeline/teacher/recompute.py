"""A sample of a store's rows computed again, to see whether it is what it says.

A stored value may differ from the true one x, the teacher's in float64, by no more than

    e + q(|x| + e)        e = 8 max |x_p - x| over the row's array

where x_p is this machine's forward in the store's own precision, so that e is what that
arithmetic is off by, with a factor for other kernels and batches (the error of a sum depends
on its order, its size hardly does), and q bounds the encoding: u |x| + s with unit roundoff
u and half the smallest subnormal s of float32, float16 or bfloat16; for `uint8_cbrt` the
bound b(p) of `store.encoding`, and after the division of a row of n by its sum

    (b(p) + p E) / (1 - E)        E = sum of b over the row + n e

It finds a store of another teacher, or with other numbers in it; not one that differs by
less than rounding does. The rows' tokens are needed, which a store does not have.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from pipeline.errors import DataError, StoreMismatchError
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import CLS_MOMENTS, Arrays, ArraySpec, Encoding, parse_array_name
from pipeline.tasks.task import Task
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.recompute_pieces import by_piece, excess, with_whole_vocabulary
from pipeline.teacher.stored_teacher import differences
from pipeline.text.tokens import Tokens

ARITHMETIC_FACTOR = 8
"""How much more the capture's forward may have been off than this one."""
_SEED = 0
_ROUNDOFF: dict[Encoding, float] = {"float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}
_HALF_SUBNORMAL: dict[Encoding, float] = {
    "float32": 2**-150,
    "float16": 2**-25,
    "bfloat16": 2**-134,
}
_HALF_STEP = 1 / 510


@dataclass(frozen=True)
class Recomputed:
    """What was found of one array."""

    array: str
    n_rows: int
    largest: float
    """The largest difference from the true value."""
    worst: float
    """The largest share of its bound that a difference takes; above 1 is a fault."""
    worst_row: int
    """The store's number of that row."""


def recompute(
    store: TeacherStore,
    teacher_dir: Path,
    tokens: Tokens,
    task: Task,
    n_rows: int,
    device: torch.device,
) -> list[Recomputed]:
    """Compute `n_rows` rows, drawn from those that `tokens` and the store share, again.

    Only arrays that are here are compared. Costs two forwards a row, one in float64.

    Raises:
        StoreMismatchError: the teacher is not the store's, naming what differs.
        DataError: the store has no row of `tokens`.
        CheckpointError: the teacher cannot be loaded.
    """
    _check_teacher(store, teacher_dir)
    tokenizer = load_matching_tokenizer(teacher_dir, tokens)
    places = [
        (split, index) for split in tokens.splits for index in range(len(tokens.splits[split]))
    ]
    keys = np.concatenate([split.keys for split in tokens.splits.values()])
    found = store.coverage(keys)
    if not len(found.found):
        raise DataError(
            f"{store.store_dir} has no row of the token table, and a row is computed from its "
            "tokens. Verify it where the tokens are that it was captured from."
        )
    chosen = np.random.default_rng(_SEED).permutation(found.found)[:n_rows]
    arrays = _arrays_here(store)
    model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
    exact = copy.deepcopy(model).double()
    has_types = "token_type_ids" in tokenizer.model_input_names
    precision = store.manifest.identity.precision
    n_pieces = store.manifest.teacher.n_labels
    wanted = with_whole_vocabulary(arrays, n_pieces)
    ours = Extractor(model, wanted, precision, device, has_token_types=has_types)
    truth = Extractor(exact, wanted, "float32", device, has_token_types=has_types)
    results: dict[ArraySpec, list[tuple[float, float, int]]] = {array: [] for array in arrays}
    for position in chosen:
        split, index = places[position]
        row, tokens_of_row = int(found.rows[position]), [tokens.splits[split].row(index)]
        rounded, true = ours.raw(tokens_of_row), truth.raw(tokens_of_row)
        stored = {a: signal.decode() for a, signal in store.read_many(arrays, [row]).items()}
        for array, encoding in arrays.items():
            if not stored[array].numel():  # a row that asks for no word piece
                results[array].append((0.0, 0.0, row))
                continue
            if array.k:
                pieces = stored[ArraySpec("top_pieces", k=array.k)]
                x, x_p = by_piece(true, n_pieces), by_piece(rounded, n_pieces)
            else:
                x, x_p = (part[array].double().flatten().cpu() for part in (true, rounded))
            error = ARITHMETIC_FACTOR * float((x_p - x).abs().max())
            if array.signal == "top_pieces":
                difference = excess(x, pieces)
                shares = difference / max(2 * error, torch.finfo(x.dtype).tiny)
            else:
                x = x.gather(1, pieces).flatten() if array.k else x
                difference = (stored[array].double().flatten() - x).abs()
                shares = difference / bound(x, error, encoding, _n_keys(array, store, row))
            share = float(shares.nan_to_num(nan=math.inf).max())
            results[array].append((share, float(difference.max()), row))
    return [
        Recomputed(array.name, len(chosen), max(part[1] for part in parts), *_worst(parts))
        for array, parts in results.items()
    ]


def _worst(parts: list[tuple[float, float, int]]) -> tuple[float, int]:
    share, _, row = max(parts)
    return share, row


def bound(
    x: Float64[Tensor, " element"], error: float, encoding: Encoding, n_keys: int
) -> Float64[Tensor, " element"]:
    """Return how far a stored value may be from the true one; `error` is the arithmetic's.

    Attention maps come row after row of `n_keys` keys.
    """
    if encoding != "uint8_cbrt":
        return error + _ROUNDOFF[encoding] * (x.abs() + error) + _HALF_SUBNORMAL[encoding]
    p = (x + error).view(-1, n_keys)
    before = 3 * _HALF_STEP * p ** (2 / 3) + 3 * _HALF_STEP**2 * p ** (1 / 3) + _HALF_STEP**3
    total = before.sum(1, keepdim=True) + n_keys * error
    after = (before + p * total) / (1 - total).clamp(min=2**-10)
    return (error + after).flatten()


def _n_keys(array: ArraySpec, store: TeacherStore, row: int) -> int:
    counts = store.n_targets if array.part == "target_pair" else store.lengths
    return int(counts[row])


def _arrays_here(store: TeacherStore) -> Arrays:
    encodings = {
        name: record.encoding
        for segment in store.manifest.segments
        for name, record in segment.arrays.items()
    }
    names = sorted(store.array_names() - {CLS_MOMENTS.name})
    arrays = {parse_array_name(name): encodings[name] for name in names}
    for array in list(arrays):  # a logit without its piece says nothing
        if array.signal == "top_logits" and ArraySpec("top_pieces", k=array.k) not in arrays:
            del arrays[array]
    return arrays


def _check_teacher(store: TeacherStore, teacher_dir: Path) -> None:
    faults = differences(store.manifest.identity, teacher_dir)
    if faults:
        raise StoreMismatchError(
            f"{teacher_dir} is not the teacher of {store.store_dir}, which was captured with "
            f"{faults}. Name the folder of that teacher with --teacher."
        )
