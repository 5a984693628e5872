"""How long a capture would take, from a few of its batches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from pipeline.models.architecture import Architecture
from pipeline.models.inputs import Inputs
from pipeline.signals.signal import Array
from pipeline.tasks.task import Task
from pipeline.teacher.compute import SegmentRows, TokenBudget, compute_segment
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.plan import Plan
from pipeline.teacher.work import DistinctRows, Work, batches_by_length, most_targets
from pipeline.text.tokens import Tokens

_LONGEST_SAMPLE_SECONDS = 20.0
_MOST_BATCHES = 15


@dataclass(frozen=True)
class Speed:
    """The expected time of one process, and what it was measured on."""

    seconds: float
    """For all batches; writing, which goes on beside it, is not counted."""
    n_batches: int
    n_measured: int


@dataclass(frozen=True)
class _Batch:
    work: Work
    """The rows of this batch alone."""
    n_padded: int
    """Tokens, padding included."""


def measure_speed(
    plan: Plan, tokens: Tokens, task: Task, *, device: torch.device, batch_tokens: int
) -> Speed:
    """Run a sample of the planned batches and scale its time up by padded tokens.

    Of the batches sorted by length, the sample takes the middle one, the quarters, the
    eighths and so on, until 15 of each kind are measured or about 20 seconds have passed.
    The teacher need not have its head yet.

    Raises:
        CheckpointError: the teacher does not fit the task, or gives no attention maps.
        OutOfMemoryError: one row alone is too large for the device.
    """
    rows, teacher = plan.rows, plan.planned.teacher
    model = load_teacher(plan.teacher_dir, task, tokens.labels, needs_head=False)
    tokenizer = load_matching_tokenizer(plan.teacher_dir, tokens)
    inputs = Inputs.of(model.config, tokenizer)
    kinds: dict[tuple[Array, ...], list[Work]] = {}
    for work in plan.works:
        kinds.setdefault(tuple(work.arrays), []).append(work)
    batches = {
        kind: _batches(members, rows, batch_tokens, teacher) for kind, members in kinds.items()
    }
    n_padded_in_all = sum(batch.n_padded for kind in batches.values() for batch in kind)
    seconds, n_measured = 0.0, 0
    for members in batches.values():
        n_padded = sum(batch.n_padded for batch in members)
        limit_seconds = _LONGEST_SAMPLE_SECONDS * n_padded / n_padded_in_all
        arrays = members[0].work.arrays
        # One attention tap at a time.
        extractor = Extractor(model, arrays, plan.precision, device, inputs)

        def run(batch: _Batch, extractor: Extractor = extractor) -> float:
            return _seconds(batch, rows, tokens, extractor, teacher, batch_tokens)

        sample = [members[place] for place in spread(len(members))[:_MOST_BATCHES]]
        measured = _measure(sample, run, limit_seconds)
        n_sampled = sum(batch.n_padded for batch in sample[: len(measured)])
        seconds += sum(measured) * n_padded / n_sampled
        n_measured += len(measured)
    return Speed(seconds, sum(map(len, batches.values())), n_measured)


def spread(count: int) -> list[int]:
    """Return all numbers below `count`, so that any first few of them are spread evenly."""
    places: dict[int, None] = {}
    n_parts = 2
    while len(places) < count:
        places.update(dict.fromkeys(part * count // n_parts for part in range(1, n_parts, 2)))
        n_parts *= 2
    return list(places)


def _batches(
    works: Sequence[Work], rows: DistinctRows, batch_tokens: int, teacher: Architecture
) -> list[_Batch]:
    """Return the batches that a capture makes of these, from the longest rows to the shortest."""
    batches = []
    for work in works:
        table = work.table(rows)
        for members in batches_by_length(
            table.lengths.tolist(), batch_tokens, table.n_targets, most_targets(teacher)
        ):
            part = Work(work.name, work.rows[members], work.arrays, work.segment)
            batches.append(_Batch(part, len(members) * int(table.lengths[members].max())))
    return sorted(batches, key=lambda batch: -batch.n_padded / len(batch.work.rows))


def _measure(
    sample: Sequence[_Batch], run: Callable[[_Batch], float], limit_seconds: float
) -> list[float]:
    """Return the seconds of the first batches of the sample, as many as fit into the limit."""
    # The first run also allocates memory and chooses kernels, unless it is a long one.
    first = run(sample[0])
    measured = [first] if first > limit_seconds / 4 else []
    spent = first
    for batch in sample[len(measured) :]:
        if measured and spent + max(measured) > limit_seconds:
            break
        measured.append(run(batch))
        spent += measured[-1]
    return measured


def _seconds(
    batch: _Batch,
    rows: DistinctRows,
    tokens: Tokens,
    extractor: Extractor,
    teacher: Architecture,
    batch_tokens: int,
) -> float:
    size = batch.work.table(rows).size()
    shapes = {array: array.shape(size, teacher) for array in batch.work.arrays}
    with tqdm(disable=True) as progress:
        start = time.perf_counter()
        compute_segment(
            SegmentRows(batch.work, rows, tokens),
            shapes,
            extractor,
            TokenBudget(batch_tokens, most_targets(teacher)),
            progress,
        )
        return time.perf_counter() - start
