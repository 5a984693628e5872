"""What a capture would add to the store, before anything is captured.

The plan is the manifest as it will be: every file that the capture is going to write,
with its size. Nothing in the store is written, locked or cleaned.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import SettingsError, StoreMismatchError
from pipeline.models.architecture import Architecture
from pipeline.signals.cls import with_moments
from pipeline.signals.signal import Array, Encoding
from pipeline.store.files import check_whole
from pipeline.store.manifest import (
    ArrayRecord,
    FileRecord,
    Identity,
    Manifest,
    Segment,
    check_identity,
    read_manifest,
)
from pipeline.store.row_table import RowTable, write_row_table
from pipeline.store.segment_draft import create_array
from pipeline.store.spec import CHECKSUM_BYTES, MANIFEST_NAME
from pipeline.store.writer import first_manifest, segment_of
from pipeline.tasks.task import Task
from pipeline.teacher.architecture import teacher_architecture
from pipeline.teacher.begun_store import (
    Precision,
    begun_from,
    choose_precision,
    has_stored_tokenizer,
    identify,
    teacher_files,
)
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.work import (
    DistinctRows,
    Work,
    choose_segment_rows,
    count_rows,
    distinct_rows,
    missing_work,
)
from pipeline.text.tokens import Tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from zarr.core.buffer import Buffer

_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Plan:
    """What a capture would do."""

    store_dir: Path
    teacher_dir: Path
    is_finetuned: bool
    """False where `teacher_dir` is what the teacher will be made from."""
    precision: Precision
    rows: DistinctRows
    works: tuple[Work, ...]
    present: Manifest | None
    """The store's manifest as it is; None where there is no store."""
    planned: Manifest
    """The manifest as it will be, with digests of zeros for what is not yet written."""
    free_bytes: int
    """On the disk that holds the store."""

    @property
    def n_rows(self) -> int:
        """Distinct rows with something to compute."""
        return count_rows(self.works)

    @property
    def n_tokens(self) -> int:
        """Tokens that the teacher will see, once for each pass over them."""
        return sum(int(self.rows.lengths[work.rows].sum()) for work in self.works)


def make_plan(
    teacher_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: CaptureSettings,
    store_dir: Path,
    *,
    device: "Callable[[], torch.device]",
    is_finetuned: bool,
) -> Plan:
    """Return what `capture` would do with the same arguments.

    The `device` is looked for only where a new store's precision depends on it; of a finished
    store that a capture would add nothing to, no model or tokenizer is loaded.

    Where the teacher `is_finetuned` not yet, `teacher_dir` is the checkpoint that it will
    be made from: sizes are those of the teacher to come, and an existing store is taken
    to be that teacher's.

    Raises:
        CheckpointError: the teacher does not fit the tokenizer.
        SettingsError: the teacher has no such layers, or encodings differ from the store's.
        StoreMismatchError: the store belongs to another teacher, tokenizer, ...
        StoreIncompleteError: files are missing, or rows that a segment needs.
        StoreDamagedError: a committed file has another size.
    """
    teacher = teacher_architecture(teacher_dir, task)
    if task.predicts != "piece":  # the checkpoint may have another head, or none
        teacher = teacher.model_copy(update={"n_labels": len(tokens.labels)})
    arrays = settings.signals.arrays(task)
    faults = settings.signals.faults(task, teacher)
    if faults:
        raise SettingsError(*faults)
    store_dir = begun_from(store_dir, teacher_dir)
    _check_tokenizer(teacher_dir, tokens, store_dir)
    precision = choose_precision(settings.precision, store_dir, device)
    identity = identify(teacher_dir, tokens, task, precision)
    present = _read_present(store_dir, identity, teacher, is_finetuned=is_finetuned)
    rows = distinct_rows(tokens)
    files = _teacher_records(
        teacher_dir, tokens, task, with_weights=settings.warm_start, is_finetuned=is_finetuned
    )
    start = present or first_manifest(
        identity,
        teacher,
        settings.segment_rows or choose_segment_rows(rows.lengths, arrays, teacher, rows.n_targets),
        {},
    )
    works = tuple(missing_work(store_dir, start, rows, arrays))
    carried = {**files, **start.teacher_files}
    planned = start.model_copy(
        update={
            "teacher_files": {name: carried[name] for name in sorted(carried)},
            "segments": _planned_segments(start, works, rows, teacher),
        }
    )
    return Plan(
        store_dir=store_dir,
        teacher_dir=teacher_dir,
        is_finetuned=is_finetuned,
        precision=precision,
        rows=rows,
        works=works,
        present=present,
        planned=Manifest.model_validate(planned.model_dump()),
        free_bytes=_free_bytes(store_dir),
    )


def _check_tokenizer(teacher_dir: Path, tokens: Tokens, store_dir: Path) -> None:
    """Refuse another tokenizer than the tokens'; loaded only if the store does not know it."""
    if (store_dir / MANIFEST_NAME).is_file():
        store = read_manifest(store_dir)
        is_known = store.identity.tokenizer == tokens.tokenizer
        if is_known and has_stored_tokenizer(teacher_dir, store):
            return
    load_matching_tokenizer(teacher_dir, tokens)


def _read_present(
    store_dir: Path, identity: Identity, teacher: Architecture, *, is_finetuned: bool
) -> Manifest | None:
    """Return the manifest of an existing store that the capture could add to."""
    if not (store_dir / MANIFEST_NAME).is_file():
        return None
    present = read_manifest(store_dir)
    if not is_finetuned:  # the digests of the teacher to come are not known
        known = {"weights": present.identity.weights, "config": present.identity.config}
        identity = identity.model_copy(update=known)
    check_identity(present.identity, identity, store_dir)
    check_whole(store_dir, present)
    if present.teacher != teacher:
        raise StoreMismatchError(
            f"{store_dir} was captured from a teacher with {present.teacher}; the checkpoint has "
            f"{teacher}. Restore it, or delete the store (rm -r {store_dir}) to capture again."
        )
    return present


def _planned_segments(
    start: Manifest, works: Iterable[Work], rows: DistinctRows, teacher: Architecture
) -> tuple[Segment, ...]:
    segments = {segment.name: segment for segment in start.segments}
    table_bytes: dict[int, int] = {}
    metadata_bytes: dict[Array, int] = {}
    for work in works:
        table = work.table(rows)
        size = table.size()
        records = dict(work.segment.arrays) if work.segment is not None else {}
        for array, encoding in with_moments(work.arrays).items():
            shape = array.shape(size, teacher)
            if array not in metadata_bytes:
                metadata_bytes[array] = _metadata_bytes(array, len(shape), encoding)
            # The metadata names each length twice: of the array and of its chunk.
            digits = 2 * sum(len(str(length)) - 1 for length in shape)
            chunk = array.size_bytes(size, teacher, encoding) + CHECKSUM_BYTES
            records[array.name] = ArrayRecord(
                encoding=encoding,
                metadata=_record(metadata_bytes[array] + digits),
                chunk=_record(chunk),
            )
        if size.n_rows not in table_bytes:
            table_bytes[size.n_rows] = _table_bytes(table)
        segments[work.name] = segment_of(
            work.name,
            table,
            _record(table_bytes[size.n_rows]) if work.segment is None else work.segment.rows,
            {name: records[name] for name in sorted(records)},
        )
    return tuple(segments[name] for name in sorted(segments))


def _metadata_bytes(array: Array, n_axes: int, encoding: Encoding) -> int:
    """Return the size of an array's Zarr metadata where every axis has length 1."""
    from zarr.storage import MemoryStore

    files: dict[str, Buffer] = {}
    create_array(MemoryStore(files), array.name, array, (1,) * n_axes, encoding)
    return len(files[f"{array.name}/zarr.json"])


def _table_bytes(table: RowTable) -> int:
    """Return the size of a row table, which depends on the number of rows and columns alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.arrow")
        write_row_table(path, table)
        return path.stat().st_size


def _teacher_records(
    teacher_dir: Path, tokens: Tokens, task: Task, *, with_weights: bool, is_finetuned: bool
) -> dict[str, FileRecord]:
    """Return the files that the store will carry copies of."""
    if is_finetuned:
        return _records_of(teacher_files(teacher_dir, with_weights=with_weights))
    model = load_teacher(teacher_dir, task, tokens.labels, needs_head=False)
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        load_matching_tokenizer(teacher_dir, tokens).save_pretrained(folder)
        records = _records_of(teacher_files(Path(folder), with_weights=False))
    if with_weights:
        records["model.safetensors"] = _record(_weights_bytes(model))
    return records


def _records_of(files: Mapping[str, Path]) -> dict[str, FileRecord]:
    return {name: _record(path.stat().st_size) for name, path in files.items()}


def _weights_bytes(model: "PreTrainedModel") -> int:
    """Return the size of the safetensors file that a model is saved as."""
    tensors = dict(model.named_parameters())  # each once, as they are saved
    data_bytes = sum(tensor.nbytes for tensor in tensors.values())
    header = {
        name: {"dtype": "F32", "shape": [*tensor.shape], "data_offsets": [data_bytes, data_bytes]}
        for name, tensor in tensors.items()
    }
    return data_bytes + len(json.dumps(header, separators=(",", ":")))


def _record(size_bytes: int) -> FileRecord:
    return FileRecord(size_bytes=size_bytes, sha256=_NO_DIGEST)


def _free_bytes(store_dir: Path) -> int:
    folder = next(path for path in (store_dir, *store_dir.absolute().parents) if path.is_dir())
    return shutil.disk_usage(folder).free
