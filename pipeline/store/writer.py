"""Growing a teacher store: whole segments and whole arrays, or nothing.

A segment's files are written below `.partial`, forced to the disk and renamed into
place; then the manifest is replaced. Whatever stops the program, the next writer drops
what the manifest does not name. Files that exist are never changed.

One process writes the manifest, and holds the store's lock while it does. Others may
write segments beside it; each leaves a record of a finished segment below `.finished`,
which the first one takes over.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipeline.core.atomic import (
    PARTIAL_SUFFIX,
    disk_full_is_an_error,
    replacing_folder,
    sync_folder,
    write_file,
    write_json,
)
from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.models.architecture import Architecture
from pipeline.store.files import FINISHED_FOLDER, PARTIAL_FOLDER, check_whole, drop_unfinished
from pipeline.store.manifest import (
    ArrayRecord,
    FileRecord,
    Identity,
    Manifest,
    Segment,
    check_identity,
    read_manifest,
    write_manifest,
)
from pipeline.store.row_table import RowTable
from pipeline.store.segment_draft import SegmentDraft, record_file
from pipeline.store.spec import (
    GROUP_BYTES,
    GROUP_NAME,
    MANIFEST_NAME,
    ROWS_FOLDER,
    SIGNAL_FOLDERS,
    TEACHER_FOLDER,
)


class StoreWriter:
    """Writes segments; the main one also owns the manifest while it grows."""

    def __init__(
        self, store_dir: Path, manifest: Manifest, role: Literal["main", "beside"] = "main"
    ) -> None:
        """Use `open_store_for_writing` or `create_store` for the main writer.

        A writer `beside` it begins from the manifest that the main one has written.
        """
        self.store_dir = store_dir
        self.manifest = manifest
        self._role = role

    @property
    def is_main(self) -> bool:
        """Whether this writer owns the manifest."""
        return self._role == "main"

    def add_segment(self, name: str, rows: RowTable) -> SegmentDraft:
        """Begin a new segment of these rows."""
        record = FileRecord(size_bytes=0, sha256="0" * 64)
        segment = segment_of(name, rows, record, arrays={})
        draft = self.extend_segment(segment)
        draft.write_rows(rows)
        return draft

    def extend_segment(self, segment: Segment) -> SegmentDraft:
        """Begin to add arrays to a committed segment."""
        return SegmentDraft(self.store_dir, self.manifest.teacher, segment, self.commit)

    def add_teacher_files(self, files: Mapping[str, Path]) -> None:
        """Copy those of the teacher's files that the store does not have."""
        missing = {
            name: files[name] for name in sorted(files) if name not in self.manifest.teacher_files
        }
        if not missing:
            return
        folder = self.store_dir / TEACHER_FOLDER
        records = dict(self.manifest.teacher_files)
        with disk_full_is_an_error(folder):
            for name, source in missing.items():
                partial = folder / (name + PARTIAL_SUFFIX)
                shutil.copyfile(source, partial)
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                partial.replace(folder / name)
                records[name] = record_file(folder / name)
            sync_folder(folder)
        ordered = {name: records[name] for name in sorted(records)}
        self._replace_manifest(self.manifest.model_copy(update={"teacher_files": ordered}))

    def commit(self, segment: Segment) -> None:
        """Make a segment, whose files are in place, part of the store."""
        if self.is_main:
            self._replace_manifest(_with_segments(self.manifest, [segment]))
        else:
            record = self.store_dir / FINISHED_FOLDER / f"{segment.name}.json"
            write_json(record, segment.model_dump(mode="json"))

    def adopt_finished(self) -> None:
        """Make the segments that other writers have finished part of the store."""
        folder = self.store_dir / FINISHED_FOLDER
        records = sorted(folder.glob("*.json"))
        finished = [segment for path in records if (segment := self._read_finished(path))]
        if finished:
            self._replace_manifest(_with_segments(self.manifest, finished))
        for path in records:
            path.unlink()

    def _read_finished(self, path: Path) -> Segment | None:
        """Return the segment in a record; None when it is not one of whole files."""
        try:
            segment = Segment.model_validate_json(path.read_bytes())
            Manifest.model_validate(_with_segments(self.manifest, [segment]).model_dump())
            # Of its own files alone: what else is in the store was checked when it was opened.
            alone = self.manifest.model_copy(update={"segments": (segment,), "teacher_files": {}})
            check_whole(self.store_dir, alone)
        except (ValidationError, StoreDamagedError, StoreIncompleteError):
            return None
        return segment

    def _replace_manifest(self, manifest: Manifest) -> None:
        write_manifest(self.store_dir, manifest)
        self.manifest = manifest


def segment_of(
    name: str, rows: RowTable, record: FileRecord, arrays: dict[str, ArrayRecord]
) -> Segment:
    """Return the manifest's entry of a segment of these rows."""
    size = rows.size()
    has_targets = rows.n_targets is not None
    return Segment(
        name=name,
        n_rows=size.n_rows,
        n_tokens=size.n_tokens,
        n_token_pairs=size.n_token_pairs,
        n_targets=size.n_targets if has_targets else None,
        n_target_pairs=size.n_target_pairs if has_targets else None,
        n_cross_pairs=size.n_cross_pairs if has_targets else None,
        rows=record,
        arrays=arrays,
    )


def _with_segments(manifest: Manifest, segments: Iterable[Segment]) -> Manifest:
    by_name = {segment.name: segment for segment in [*manifest.segments, *segments]}
    ordered = tuple(by_name[name] for name in sorted(by_name))
    return manifest.model_copy(update={"segments": ordered})


def create_store(
    store_dir: Path,
    identity: Identity,
    teacher: Architecture,
    segment_rows: int,
    teacher_files: Mapping[str, Path],
) -> StoreWriter:
    """Make an empty store that carries copies of `teacher_files`, and open it for writing.

    What an earlier attempt left, which never came to its first segment, goes.

    Raises:
        StoreDamagedError: there are segments, whose manifest is gone.
    """
    if any((store_dir / ROWS_FOLDER).glob("*.arrow")):
        raise StoreDamagedError(
            f"{store_dir} holds segments but no {MANIFEST_NAME}. Restore it with 'dvc checkout', "
            f"or delete the store (rm -r {store_dir}) to capture again."
        )
    store_dir.mkdir(parents=True, exist_ok=True)
    for folder_name in (PARTIAL_FOLDER, FINISHED_FOLDER, ROWS_FOLDER, *SIGNAL_FOLDERS):
        shutil.rmtree(store_dir / folder_name, ignore_errors=True)
    with replacing_folder(store_dir / TEACHER_FOLDER) as folder:
        for name, source in teacher_files.items():
            shutil.copyfile(source, folder / name)
        records = {name: record_file(folder / name) for name in sorted(teacher_files)}
    for folder_name in (ROWS_FOLDER, *SIGNAL_FOLDERS):
        (store_dir / folder_name).mkdir()
    write_file(store_dir / GROUP_NAME, GROUP_BYTES)
    manifest = first_manifest(identity, teacher, segment_rows, records)
    write_manifest(store_dir, manifest)
    return StoreWriter(store_dir, manifest)


def first_manifest(
    identity: Identity,
    teacher: Architecture,
    segment_rows: int,
    teacher_files: dict[str, FileRecord],
) -> Manifest:
    """Return the manifest of a store without segments."""
    return Manifest(
        format="decant-teacher-store",
        format_version=1,
        identity=identity,
        teacher=teacher,
        teacher_files=teacher_files,
        segment_rows=segment_rows,
        segments=(),
        versions={name: version(name) for name in ("torch", "transformers", "zarr", "numpy")},
    )


def open_store_for_writing(store_dir: Path, identity: Identity) -> StoreWriter | None:
    """Open an existing store to add to it; None where there is none.

    Segments that were finished beside a main writer that was stopped are taken over;
    files that no committed segment names are removed.

    Raises:
        StoreMismatchError: the store belongs to another teacher, tokenizer, ...
        StoreDamagedError: a committed file has another size.
        StoreIncompleteError: a committed file is missing, or was not fetched.
    """
    path = store_dir / MANIFEST_NAME
    if not path.exists() and not path.is_symlink():  # a broken link is no reason to begin anew
        return None
    manifest = read_manifest(store_dir)
    check_identity(manifest.identity, identity, store_dir)
    check_whole(store_dir, manifest)
    writer = StoreWriter(store_dir, manifest)
    writer.adopt_finished()
    drop_unfinished(store_dir, writer.manifest)
    return writer
