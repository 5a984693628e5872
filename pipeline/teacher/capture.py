"""Run the teacher once over the rows and arrays that the store does not have yet.

Nothing that is in the store is computed again: rows are found by key, arrays by
name. A stopped capture continues after its last committed segment.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.architecture import Architecture, read_architecture
from pipeline.checkpoint import read_config
from pipeline.errors import DiskFullError, SettingsError
from pipeline.fingerprint import digest_config, digest_weights
from pipeline.store.encoding import NUMPY_TYPES
from pipeline.store.manifest import Identity, read_manifest
from pipeline.store.spec import MANIFEST_NAME, ArraySpec
from pipeline.store.writer import (
    SegmentDraft,
    StoreWriter,
    create_store,
    open_store_for_writing,
)
from pipeline.tasks.task import Task
from pipeline.teacher.capture_settings import AskedPrecision, CaptureSettings
from pipeline.teacher.extract import EXTRACTION, Extractor, Precision
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.plan import (
    Arrays,
    DistinctRows,
    Work,
    batches_by_length,
    choose_segment_rows,
    distinct_rows,
    missing_work,
    size_of_work,
)
from pipeline.text.tokens import Tokens

_TEACHER_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class CaptureReport:
    """What one capture did."""

    n_computed: int
    """Rows that the teacher saw, once for each pass over them."""
    n_present: int
    """Distinct rows that had nothing to compute."""
    n_tokens: int
    size_bytes: int
    """Raw signal data written."""
    seconds: float


def capture(
    teacher_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: CaptureSettings,
    store_dir: Path,
    *,
    device: torch.device,
    batch_tokens: int,
) -> CaptureReport:
    """Bring the store up to the token table and the settings; return what that took.

    Raises:
        CheckpointError: the teacher does not fit the task or the tokenizer.
        StoreMismatchError: the store belongs to another teacher, tokenizer, ...
        DiskFullError: the disk cannot hold the result; committed segments stay.
        SignalError: a signal does not fit its encoding.
    """
    start = time.monotonic()
    tokenizer = load_matching_tokenizer(teacher_dir, tokens)
    architecture = read_architecture(teacher_dir)
    arrays = settings.signals.arrays()
    _check_layers(arrays, architecture)
    precision = _choose_precision(settings.precision, store_dir, device)
    identity = Identity(
        task=task.kind,
        labels=tokens.labels,
        weights=digest_weights(teacher_dir),
        config=digest_config(read_config(teacher_dir)),
        tokenizer=tokens.tokenizer,
        max_length=tokens.max_length,
        precision=precision,
        extraction=EXTRACTION,
    )
    rows = distinct_rows(tokens)
    writer = open_store_for_writing(store_dir, identity)
    if writer is None:
        segment_rows = settings.segment_rows
        writer = create_store(
            store_dir,
            identity,
            architecture,
            segment_rows or choose_segment_rows(rows.lengths, arrays, architecture),
            _teacher_files(teacher_dir, with_weights=settings.warm_start),
        )
    works = list(missing_work(writer, rows, arrays))
    size_bytes = sum(size_of_work(work, rows, architecture) for work in works)
    _check_disk(store_dir, size_bytes)
    if works:
        model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
        has_token_types = "token_type_ids" in tokenizer.model_input_names
        encodings = {array.signal: encoding for array, encoding in arrays.items()}

        def prepare(wanted: Arrays) -> Extractor:
            return Extractor(
                model, wanted, encodings, precision, device, has_token_types=has_token_types
            )

        _compute(writer, works, rows, tokens, prepare, batch_tokens)
    n_computed = sum(len(work.rows) for work in works)
    touched = {int(row) for work in works for row in work.rows}
    return CaptureReport(
        n_computed=n_computed,
        n_present=len(rows.keys) - len(touched),
        n_tokens=sum(int(rows.lengths[work.rows].sum()) for work in works),
        size_bytes=size_bytes,
        seconds=time.monotonic() - start,
    )


def _check_layers(arrays: Arrays, teacher: Architecture) -> None:
    layers = [array.layer for array in arrays if array.signal == "attentions"]
    outside = [layer for layer in layers if not 1 <= layer <= teacher.n_layers]
    if outside:
        raise SettingsError(
            [
                f"capture.signals.attentions.layers: layer {layer} does not exist, the teacher "
                f"has layers 1 to {teacher.n_layers}"
                for layer in outside
            ]
        )


def _choose_precision(asked: AskedPrecision, store_dir: Path, device: torch.device) -> Precision:
    if asked == "auto" and (store_dir / MANIFEST_NAME).is_file():
        return read_manifest(store_dir).identity.precision
    if asked == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return asked


def _teacher_files(teacher_dir: Path, *, with_weights: bool) -> dict[str, Path]:
    files = [teacher_dir / name for name in _TEACHER_FILES if (teacher_dir / name).is_file()]
    if with_weights:
        files += sorted(teacher_dir.glob("*.safetensors"))
        files += sorted(teacher_dir.glob("*.safetensors.index.json"))
    return {path.name: path for path in files}


def _check_disk(store_dir: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(store_dir).free
    if size_bytes > free:
        raise DiskFullError(
            f"{store_dir}: the capture needs {size_bytes / 2**20:,.1f} MiB, the disk has "
            f"{free / 2**20:,.1f} MiB free. Ask for fewer attention layers or rows, or free "
            "some space."
        )


def _compute(
    writer: StoreWriter,
    works: list[Work],
    rows: DistinctRows,
    tokens: Tokens,
    prepare: Callable[[Arrays], Extractor],
    batch_tokens: int,
) -> None:
    n_tokens = sum(int(rows.lengths[work.rows].sum()) for work in works)
    extractors: dict[tuple[ArraySpec, ...], Extractor] = {}
    with tqdm(total=n_tokens, desc="capture", unit="tok", unit_scale=True) as progress:
        for index, work in enumerate(works):
            wanted = tuple(work.arrays)
            if wanted not in extractors:
                extractors = {wanted: prepare(work.arrays)}  # one attention tap at a time
            lengths = rows.lengths[work.rows]
            if work.segment is None:
                draft = writer.add_segment(rows.keys[work.rows], lengths)
            else:
                draft = writer.extend_segment(work.segment)
            try:
                _fill(draft, work, rows, tokens, extractors[wanted], batch_tokens, progress)
                draft.commit()
            except DiskFullError as error:
                raise DiskFullError(
                    f"{error} {index} of {len(works)} segments of this run are committed and "
                    "will not be computed again."
                ) from error


def _fill(
    draft: SegmentDraft,
    work: Work,
    rows: DistinctRows,
    tokens: Tokens,
    extractor: Extractor,
    batch_tokens: int,
    progress: "tqdm[NoReturn]",
) -> None:
    """Compute one segment's arrays, in batches of similar length, and write them."""
    lengths = rows.lengths[work.rows]
    buffers = {
        array: np.empty(draft.shape(array), NUMPY_TYPES[encoding])
        for array, encoding in work.arrays.items()
    }
    for batch in batches_by_length(lengths.tolist(), batch_tokens):
        members = work.rows[batch]
        seen = [tokens.splits[rows.splits[row]].row(rows.positions[row]) for row in members]
        for array, values in extractor(seen).items():
            _place(buffers[array], array, values.numpy(), batch, lengths)
        progress.update(int(lengths[batch].sum()))
    for array, buffer in buffers.items():
        draft.write_array(array, buffer, work.arrays[array])


def _place(
    buffer: NDArray[np.generic],
    array: ArraySpec,
    values: NDArray[np.generic],
    batch: Sequence[int],
    lengths: NDArray[np.int64],
) -> None:
    """Copy a batch's values to where its rows belong in the segment, without padding."""
    if array.signal != "attentions":
        buffer[batch] = values
        return
    n_heads = values.shape[1]
    offsets = n_heads * np.concatenate([[0], np.cumsum(lengths**2)])
    for row, maps in zip(batch, values, strict=True):
        n = lengths[row]
        buffer[offsets[row] : offsets[row + 1]] = maps[:, :n, :n].reshape(-1)
