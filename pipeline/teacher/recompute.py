"""A sample of a store's rows computed again, to see whether it is what it says.

It finds a store of another teacher, or with other numbers in it; not one that differs by less than
rounding does. The rows' tokens are needed, which a store does not have.

A stored value may differ from the true one x, the teacher's in float64, by no more than

    e + q(|x| + e)        e = 8 max |x_p - x| over the row's array; over the array of all rows
                          computed where a row has so few values that all may be right by chance

where x_p is this machine's forward in the store's own precision, so that e is what that
arithmetic is off by, with a factor for other kernels and batches (the error of a sum depends
on its order, its size hardly does), and q bounds the encoding: u |x| + s with unit roundoff
u and half the smallest subnormal s of float32, float16 or bfloat16; for `uint8_cbrt` the
bound b(p) of `store.encoding`, and after the division of a row of n by its sum

    (b(p) + p E) / (1 - E)        E = sum of b over the row + n e

A token that the store left out of the top-k logits may have no larger logit, in float64, than one
that it has, but for what the arithmetic of either was off by: 2 e.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from pipeline.core.errors import DataError, StoreMismatchError
from pipeline.models.inputs import Inputs
from pipeline.signals.cls import MOMENTS
from pipeline.signals.signal import Array, Arrays, Encoding
from pipeline.signals.top_logits import TOP_LOGITS, TOP_PIECES, top_k_arrays
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import parse_array_name
from pipeline.tasks.task import Task
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.stored_teacher import differences
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens

_SEED = 0
ARITHMETIC_FACTOR = 8
"""How much more the capture's forward may have been off than this one."""
_FEW = 64
"""Below so many values, the largest error of a row says little about the size of errors."""
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


class _Verdict(NamedTuple):
    """What was found of one array of one row."""

    share: float
    """The largest share of its bound that a difference takes; above 1 is a fault."""
    row: int
    difference: float
    """The largest."""


@dataclass(frozen=True)
class _Compared:
    """One array of one row, before it is judged."""

    row: int
    x: Float64[Tensor, " element"]
    """The true values."""
    difference: Float64[Tensor, " element"]
    """How far the stored ones are from them."""
    error: float
    """max |x_p - x|"""
    n_errors: int
    """Over how many values that is the largest."""
    n_keys: int
    """Of an attention map's rows."""

    @property
    def has_few(self) -> bool:
        """Whether its error may be small by chance, so that other rows' are to be looked at."""
        return self.n_errors < _FEW


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
    chosen = _choose(store, tokens, n_rows)
    arrays = _arrays_here(store)
    model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
    exact = copy.deepcopy(model).double()
    inputs = Inputs.of(model.config, tokenizer)
    precision = store.manifest.identity.precision
    n_pieces = store.manifest.teacher.n_labels
    wanted = _with_whole_vocabulary(arrays, n_pieces)
    ours = Extractor(model, wanted, precision, device, inputs)
    truth = Extractor(exact, wanted, "float32", device, inputs)
    results: dict[Array, list[_Verdict]] = {array: [] for array in arrays}
    few: dict[Array, list[_Compared]] = {array: [] for array in arrays}
    for row, token_row in chosen:
        rounded, true = ours.raw([token_row]), truth.raw([token_row])
        stored = {a: signal.decode() for a, signal in store.read_many(arrays, [row]).items()}
        for array, encoding in arrays.items():
            if not stored[array].numel():  # a row that asks for no word piece
                results[array].append(_Verdict(0.0, row, 0.0))
                continue
            sides = array.axis.side_lengths(int(store.lengths[row]), int(store.n_targets[row]))
            compared = _compare(
                array, row, stored, rounded, true, n_pieces, n_keys=sides[-1] if sides else 1
            )
            if compared.has_few:
                few[array].append(compared)
            else:
                results[array].append(_judge(compared, compared.error, encoding))
    for array, rows in few.items():
        error = max((compared.error for compared in rows), default=0.0)
        results[array] += [_judge(compared, error, arrays[array]) for compared in rows]
    return [
        Recomputed(
            array.name,
            len(chosen),
            largest=max(verdict.difference for verdict in verdicts),
            worst=max(verdicts).share,
            worst_row=max(verdicts).row,
        )
        for array, verdicts in results.items()
    ]


def _choose(store: TeacherStore, tokens: Tokens, n_rows: int) -> list[tuple[int, TokenRow]]:
    """Draw rows of the store that `tokens` has, as their numbers there and their tokens."""
    splits = list(tokens.splits.values())
    found = store.coverage(np.concatenate([split.keys for split in splits]))
    if not len(found.found):
        raise DataError(
            f"{store.store_dir} has no row of the token table, and a row is computed from its "
            "tokens. Verify it where the tokens are that it was captured from."
        )
    starts = np.cumsum([0, *(len(split) for split in splits)])
    chosen = np.random.default_rng(_SEED).permutation(found.found)[:n_rows]
    of_split = np.searchsorted(starts, chosen, side="right") - 1
    return [
        (int(found.rows[position]), splits[number].row(int(position - starts[number])))
        for position, number in zip(chosen, of_split, strict=True)
    ]


def _compare(
    array: Array,
    row: int,
    stored: Mapping[Array, Tensor],
    rounded: Mapping[Array, Tensor],
    true: Mapping[Array, Tensor],
    n_pieces: int,
    n_keys: int,
) -> _Compared:
    if array.k:
        pieces = stored[Array(TOP_PIECES, k=array.k)]
        x, x_p = _by_piece(true, n_pieces), _by_piece(rounded, n_pieces)
    else:
        x, x_p = (part[array].double().flatten().cpu() for part in (true, rounded))
    error, n_errors = float((x_p - x).abs().max()), x.numel()
    if array.signal == TOP_PIECES:
        return _Compared(row, x, _excess(x, pieces), error, n_errors, n_keys)
    x = x.gather(1, pieces).flatten() if array.k else x
    difference = (stored[array].double().flatten() - x).abs()
    return _Compared(row, x, difference, error, n_errors, n_keys)


def _arrays_here(store: TeacherStore) -> Arrays:
    encodings = {
        name: record.encoding
        for segment in store.manifest.segments
        for name, record in segment.arrays.items()
    }
    names = sorted(store.array_names() - {MOMENTS.name})
    arrays = {parse_array_name(name): encodings[name] for name in names}
    for array in list(arrays):  # a logit without its piece says nothing
        if array.signal == TOP_LOGITS and Array(TOP_PIECES, k=array.k) not in arrays:
            del arrays[array]
    return arrays


def _check_teacher(store: TeacherStore, teacher_dir: Path) -> None:
    faults = differences(store.manifest.identity, teacher_dir)
    if faults:
        raise StoreMismatchError(
            f"{teacher_dir} is not the teacher of {store.store_dir}, which was captured with "
            f"{faults}. Name the folder of that teacher with --teacher."
        )


def _judge(compared: _Compared, error: float, encoding: Encoding) -> _Verdict:
    """Compare the differences with their bound, where a forward is off by `error`."""
    if encoding == "int32":  # numbers of pieces; the differences are of their logits
        allowed: Tensor | float = max(
            2 * ARITHMETIC_FACTOR * error, torch.finfo(torch.float64).tiny
        )
    else:
        allowed = bound(compared.x, ARITHMETIC_FACTOR * error, encoding, compared.n_keys)
    share = float((compared.difference / allowed).nan_to_num(nan=math.inf).max())
    return _Verdict(share, compared.row, float(compared.difference.max()))


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


def _with_whole_vocabulary(arrays: Arrays, n_pieces: int) -> Arrays:
    """Return the arrays to compute, to compare with these: all logits for the largest."""
    top = top_k_arrays(n_pieces)
    computed = {array: encoding for array, encoding in arrays.items() if not array.k}
    if len(computed) < len(arrays):
        computed |= {top.values: "float32", top.pieces: "int32"}
    return computed


def _by_piece(computed: Mapping[Array, Tensor], n_pieces: int) -> Float64[Tensor, "target piece"]:
    """Return all logits of a row's targets, in the vocabulary's order."""
    top = top_k_arrays(n_pieces)
    values = computed[top.values].double()
    return torch.empty_like(values).scatter(1, computed[top.pieces], values).cpu()


def _excess(
    logits: Float64[Tensor, "target piece"], stored: Int[Tensor, "target k"]
) -> Float64[Tensor, " target"]:
    """Return by how much the largest logit that is not stored exceeds the least that is."""
    least = logits.gather(1, stored).amin(1)
    largest = logits.scatter(1, stored, -torch.inf).amax(1)
    return (largest - least).clamp(min=0)
