"""Compute pieces of work one after another; each is written while the next is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tqdm import tqdm

from pipeline.core.errors import DiskFullError
from pipeline.core.processes import Processes
from pipeline.store.spec import Arrays, ArraySpec, with_moments
from pipeline.store.writer import StoreWriter
from pipeline.teacher.extract import Extractor
from pipeline.teacher.segment import SegmentArrays, SegmentRows, TokenBudget, compute_segment
from pipeline.teacher.work import DistinctRows, Work
from pipeline.text.tokens import Tokens


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
    extractors: dict[tuple[ArraySpec, ...], Extractor] = {}
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
