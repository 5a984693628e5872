"""Run the teacher once over the rows and arrays that the store does not have yet.

Nothing that is in the store is computed again: rows are found by key, arrays by
name. A stopped capture continues after its last committed segment.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from pipeline.core.errors import CheckpointError, DiskFullError, SettingsError
from pipeline.core.processes import Processes
from pipeline.models.inputs import Inputs
from pipeline.signals.cls import with_moments
from pipeline.signals.signal import Arrays
from pipeline.store.files import make_groups
from pipeline.store.lock import locked
from pipeline.store.manifest import read_manifest
from pipeline.store.take_over import TakenOver, take_over
from pipeline.store.writer import StoreWriter, create_store, open_store_for_writing
from pipeline.tasks.task import Task
from pipeline.teacher.architecture import teacher_architecture
from pipeline.teacher.begun_store import begun_from, choose_precision, identify, teacher_files
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.compute import TokenBudget, compute
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.stored_teacher import has_weights, read_origin
from pipeline.teacher.work import (
    Work,
    choose_segment_rows,
    count_rows,
    distinct_rows,
    missing_work,
    most_targets,
)
from pipeline.text.tokens import Tokens


@dataclass(frozen=True)
class CaptureReport:
    """What one capture did, in all its processes."""

    n_computed: int
    """Rows that the teacher saw, once for each pass over them."""
    n_extended: int
    """Of these, rows that the store had already, and that were given further arrays."""
    n_present: int
    """Distinct rows that had nothing to compute."""
    n_tokens: int
    size_bytes: int
    """Raw signal data written."""
    seconds: float
    taken: TakenOver | None = None
    """What came from the store that the teacher was taken from, if it was."""


def capture(
    teacher_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: CaptureSettings,
    store_dir: Path,
    *,
    device: torch.device,
    batch_tokens: int,
    processes: Processes,
) -> CaptureReport:
    """Bring the store up to the token table and the settings; return what that took.

    The processes take the segments in turn. Only the main one replaces the manifest.

    Raises:
        CheckpointError: the teacher does not fit the task or the tokenizer.
        StoreLockedError: another capture is writing to the store.
        StoreMismatchError: the store belongs to another teacher, tokenizer, ...
        DiskFullError: the disk cannot hold the result; committed segments stay.
        SignalError: a signal does not fit its encoding.
        OutOfMemoryError: one row alone is too large for the device.
        ProcessError: another of the processes has ended.
    """
    start = time.monotonic()
    tokenizer = load_matching_tokenizer(teacher_dir, tokens)
    architecture = teacher_architecture(teacher_dir, task)
    arrays = settings.signals.arrays(task)
    faults = settings.signals.faults(task, architecture)
    if faults:
        raise SettingsError(*faults)
    begun_dir = begun_from(store_dir, teacher_dir)
    precision = choose_precision(settings.precision, begun_dir, lambda: device)
    identity = identify(teacher_dir, tokens, task, precision)
    rows = distinct_rows(tokens)
    origin = read_origin(teacher_dir)
    taken = None
    with locked(store_dir, is_needed=processes.is_main):
        if processes.is_main:
            if origin is not None:
                taken = take_over(origin.store_dir, store_dir, identity, arrays)
            files = teacher_files(teacher_dir, with_weights=settings.warm_start)
            writer = open_store_for_writing(store_dir, identity) or create_store(
                store_dir,
                identity,
                architecture,
                settings.segment_rows
                or choose_segment_rows(rows.lengths, arrays, architecture, rows.n_targets),
                files,
            )
            writer.add_teacher_files(files)
            processes.wait_for_all()
        else:
            processes.wait_for_all()
            writer = StoreWriter(store_dir, read_manifest(store_dir), "beside")
        works = list(missing_work(store_dir, writer.manifest, rows, arrays))
        size_bytes = sum(work.size_bytes(rows, architecture) for work in works)
        if processes.is_main:
            _check_disk(store_dir, size_bytes)
            arrays_due = {array for work in works for array in with_moments(work.arrays)}
            make_groups(store_dir, arrays_due)
        processes.wait_for_all()
        if works and not has_weights(teacher_dir):
            _refuse_without_weights(teacher_dir, works)
        mine = works[processes.rank :: processes.count]
        if mine:
            model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
            inputs = Inputs.of(model.config, tokenizer)

            def prepare(wanted: Arrays) -> Extractor:
                return Extractor(model, wanted, precision, device, inputs)

            budget = TokenBudget(batch_tokens, most_targets(architecture))
            compute(writer, mine, rows, tokens, prepare, budget, processes)
        processes.wait_for_all()
        if processes.is_main:
            writer.adopt_finished()
    return CaptureReport(
        n_computed=sum(len(work.rows) for work in works),
        n_extended=sum(len(work.rows) for work in works if work.segment is not None),
        n_present=len(rows.keys) - count_rows(works),
        n_tokens=sum(int(rows.lengths[work.rows].sum()) for work in works),
        size_bytes=size_bytes,
        seconds=time.monotonic() - start,
        taken=taken,
    )


def describe_capture(report: CaptureReport) -> str:
    """Return what a capture did as a line for people."""
    rows = f"{report.n_computed - report.n_extended:,} rows computed"
    present = f"{report.n_present:,} already present"
    if report.n_extended:
        rows = f"arrays added to {report.n_extended:,} rows already present, {rows}"
        present = f"{report.n_present:,} left as they are"
    return (
        f"{rows}, {present}, {report.n_tokens:,} tokens and {report.size_bytes / 2**20:,.1f} MiB "
        f"in {report.seconds:.1f} s"
    )


def _refuse_without_weights(teacher_dir: Path, works: list[Work]) -> NoReturn:
    names = sorted({array.name for work in works for array in work.arrays})
    raise CheckpointError(
        f"{count_rows(works):,} rows need {', '.join(names)} computed, and {teacher_dir} has no "
        "weights. 'decant coverage' says which rows; take them out, name the same teacher as "
        "teacher.checkpoint, or ask who captured the store for its weights."
    )


def _check_disk(store_dir: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(store_dir).free
    if size_bytes > free:
        raise DiskFullError(
            f"{store_dir}: the capture needs {size_bytes / 2**20:,.1f} MiB, the disk has "
            f"{free / 2**20:,.1f} MiB free. Ask for fewer attention layers or rows, or free "
            "some space."
        )
