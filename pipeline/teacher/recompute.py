"""A sample of a store's rows computed again, to see whether it is what it says.

Stored values are compared with the teacher's in float64, and may differ by what
`recompute_bound` allows. It finds a store of another teacher, or with other numbers in it; not
one that differs by less than rounding does. The rows' tokens are needed, which a store does
not have.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import DataError, StoreMismatchError
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import CLS_MOMENTS, Arrays, ArraySpec, parse_array_name
from pipeline.tasks.task import Task
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.recompute_bound import Compared, Verdict, judge
from pipeline.teacher.recompute_pieces import by_piece, excess, with_whole_vocabulary
from pipeline.teacher.stored_teacher import differences
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens

_SEED = 0


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
    chosen = _choose(store, tokens, n_rows)
    arrays = _arrays_here(store)
    model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
    exact = copy.deepcopy(model).double()
    has_types = "token_type_ids" in tokenizer.model_input_names
    precision = store.manifest.identity.precision
    n_pieces = store.manifest.teacher.n_labels
    wanted = with_whole_vocabulary(arrays, n_pieces)
    ours = Extractor(model, wanted, precision, device, has_token_types=has_types)
    truth = Extractor(exact, wanted, "float32", device, has_token_types=has_types)
    results: dict[ArraySpec, list[Verdict]] = {array: [] for array in arrays}
    few: dict[ArraySpec, list[Compared]] = {array: [] for array in arrays}
    for row, token_row in chosen:
        rounded, true = ours.raw([token_row]), truth.raw([token_row])
        stored = {a: signal.decode() for a, signal in store.read_many(arrays, [row]).items()}
        for array, encoding in arrays.items():
            if not stored[array].numel():  # a row that asks for no word piece
                results[array].append(Verdict(0.0, row, 0.0))
                continue
            n_keys = _n_keys(array, store, row)
            compared = _compare(array, row, stored, rounded, true, n_pieces, n_keys)
            if compared.has_few:
                few[array].append(compared)
            else:
                results[array].append(judge(compared, compared.error, encoding))
    for array, rows in few.items():
        error = max((compared.error for compared in rows), default=0.0)
        results[array] += [judge(compared, error, arrays[array]) for compared in rows]
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
    array: ArraySpec,
    row: int,
    stored: Mapping[ArraySpec, Tensor],
    rounded: Mapping[ArraySpec, Tensor],
    true: Mapping[ArraySpec, Tensor],
    n_pieces: int,
    n_keys: int,
) -> Compared:
    if array.k:
        pieces = stored[ArraySpec("top_pieces", k=array.k)]
        x, x_p = by_piece(true, n_pieces), by_piece(rounded, n_pieces)
    else:
        x, x_p = (part[array].double().flatten().cpu() for part in (true, rounded))
    error, n_errors = float((x_p - x).abs().max()), x.numel()
    if array.signal == "top_pieces":
        return Compared(row, x, excess(x, pieces), error, n_errors, n_keys)
    x = x.gather(1, pieces).flatten() if array.k else x
    difference = (stored[array].double().flatten() - x).abs()
    return Compared(row, x, difference, error, n_errors, n_keys)


def _n_keys(array: ArraySpec, store: TeacherStore, row: int) -> int:
    _, n_keys = array.sides(int(store.lengths[row]), int(store.n_targets[row]))
    return n_keys


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
