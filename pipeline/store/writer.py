"""Growing a teacher store: whole segments and whole arrays, or nothing.

An array is written below `.partial`, forced to the disk and renamed into place; then
the manifest is replaced. Whatever stops the program, the next writer drops what the
manifest does not name. Files that exist are never changed.
"""

import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec

from pipeline.architecture import Architecture
from pipeline.atomic import (
    PARTIAL_SUFFIX,
    disk_full_is_an_error,
    replacing_folder,
    sync_folder,
    sync_tree,
    write_file,
)
from pipeline.fingerprint import KEY_BYTES, digest_file
from pipeline.store.encoding import NUMPY_TYPES
from pipeline.store.manifest import (
    ArrayRecord,
    FileRecord,
    Identity,
    Manifest,
    Segment,
    check_files,
    check_identity,
    read_manifest,
    write_manifest,
)
from pipeline.store.spec import (
    GROUP_BYTES,
    GROUP_NAME,
    MANIFEST_NAME,
    ROWS_FOLDER,
    SIGNAL_FOLDERS,
    TEACHER_FOLDER,
    ArraySpec,
    Encoding,
    array_folder,
    chunk_file,
    rows_file,
)

PARTIAL_FOLDER = ".partial"

ROWS_SCHEMA = pa.schema({"key": pa.binary(KEY_BYTES), "length": pa.int32()})


class StoreWriter:
    """The one writer of a store; owns its manifest while it grows."""

    def __init__(self, store_dir: Path, manifest: Manifest) -> None:
        """Use `open_store_for_writing` or `create_store` instead."""
        self.store_dir = store_dir
        self.manifest = manifest

    def add_segment(self, keys: NDArray[np.void], lengths: NDArray[np.int64]) -> "SegmentDraft":
        """Begin the next segment with the rows that have these keys and token counts."""
        name = f"{len(self.manifest.segments):05d}"
        segment = Segment(
            name=name,
            n_rows=len(keys),
            n_tokens=int(lengths.sum()),
            n_token_pairs=int((lengths**2).sum()),
            rows=FileRecord(size_bytes=0, sha256="0" * 64),
            arrays={},
        )
        draft = self._draft(segment, is_new=True)
        path = draft.partial_dir / rows_file(name)
        path.parent.mkdir(parents=True)
        table = pa.table(
            [pa.array([key.tobytes() for key in keys], pa.binary(KEY_BYTES)), lengths],
            schema=ROWS_SCHEMA,
        )
        with (
            disk_full_is_an_error(path),
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, ROWS_SCHEMA) as writer,
        ):
            writer.write_table(table)
        return draft

    def extend_segment(self, segment: Segment) -> "SegmentDraft":
        """Begin to add arrays to a committed segment."""
        return self._draft(segment, is_new=False)

    def _draft(self, segment: Segment, *, is_new: bool) -> "SegmentDraft":
        partial_dir = self.store_dir / PARTIAL_FOLDER
        shutil.rmtree(partial_dir, ignore_errors=True)
        partial_dir.mkdir()
        return SegmentDraft(self, segment, partial_dir, is_new=is_new)

    def commit(self, segment: Segment) -> None:
        """Make a segment, whose files are in place, part of the store."""
        others = [known for known in self.manifest.segments if known.name != segment.name]
        segments = tuple(sorted([*others, segment], key=lambda known: known.name))
        manifest = self.manifest.model_copy(update={"segments": segments})
        write_manifest(self.store_dir, manifest)
        self.manifest = manifest


class SegmentDraft:
    """Arrays of one segment on their way into the store; `commit` makes them part of it."""

    def __init__(
        self, writer: StoreWriter, segment: Segment, partial_dir: Path, *, is_new: bool
    ) -> None:
        self._writer = writer
        self._segment = segment
        self._is_new = is_new
        self._encodings: dict[ArraySpec, Encoding] = {}
        self.partial_dir = partial_dir

    def shape(self, array: ArraySpec) -> tuple[int, ...]:
        """Return the shape that an array of this segment must have."""
        return array.shape(self._segment.size, self._writer.manifest.teacher)

    def write_array(
        self, array: ArraySpec, values: NDArray[np.generic], encoding: Encoding
    ) -> None:
        """Write one array, which must have the shape and type its spec and encoding give."""
        assert values.shape == self.shape(array)
        assert values.dtype == NUMPY_TYPES[encoding]
        folder = array_folder(array, self._segment.name)
        with disk_full_is_an_error(self._writer.store_dir / folder):
            target = zarr.create(
                store=str(self.partial_dir),
                path=folder,
                shape=values.shape,
                chunks=values.shape,
                dtype=values.dtype.name,
                zarr_format=3,
                codecs=[BytesCodec(endian="little"), Crc32cCodec()],
                dimension_names=array.axes,
                attributes={"encoding": encoding},
                config={"write_empty_chunks": True},
            )
            target[...] = values
        self._encodings[array] = encoding

    def commit(self) -> None:
        """Move the files into place and name them in the manifest.

        Raises:
            DiskFullError: the store is as it was, but for files that the next writer drops.
        """
        with disk_full_is_an_error(self._writer.store_dir):
            sync_tree(self.partial_dir)
            self._writer.commit(self._move_into_place())

    def _move_into_place(self) -> Segment:
        """Rename the finished files to their final names; return the segment that names them."""
        store_dir, name = self._writer.store_dir, self._segment.name
        arrays = dict(self._segment.arrays)
        rows = self._segment.rows
        if self._is_new:
            rows = _record(self.partial_dir / rows_file(name))
            _move(self.partial_dir / rows_file(name), store_dir / rows_file(name))
        for array, encoding in self._encodings.items():
            folder = array_folder(array, name)
            arrays[array.name] = ArrayRecord(
                encoding=encoding,
                metadata=_record(self.partial_dir / folder / "zarr.json"),
                chunk=_record(self.partial_dir / chunk_file(array, name)),
            )
            _write_groups(store_dir, array)
            _move(self.partial_dir / folder, store_dir / folder)
        shutil.rmtree(self.partial_dir)
        ordered = {array: arrays[array] for array in sorted(arrays)}
        return self._segment.model_copy(update={"rows": rows, "arrays": ordered})


def create_store(
    store_dir: Path,
    identity: Identity,
    teacher: Architecture,
    segment_rows: int,
    teacher_files: Mapping[str, Path],
) -> StoreWriter:
    """Make an empty store that carries copies of `teacher_files`, and open it for writing.

    What lies in `store_dir` without a manifest is what an earlier attempt left, and goes.
    """
    store_dir.mkdir(parents=True, exist_ok=True)
    for folder_name in (PARTIAL_FOLDER, ROWS_FOLDER, *SIGNAL_FOLDERS):
        shutil.rmtree(store_dir / folder_name, ignore_errors=True)
    with replacing_folder(store_dir / TEACHER_FOLDER) as folder:
        for name, source in teacher_files.items():
            shutil.copyfile(source, folder / name)
        records = {name: _record(folder / name) for name in sorted(teacher_files)}
    for folder_name in (ROWS_FOLDER, *SIGNAL_FOLDERS):
        (store_dir / folder_name).mkdir()
    write_file(store_dir / GROUP_NAME, GROUP_BYTES)
    manifest = Manifest(
        format="decant-teacher-store",
        format_version=1,
        identity=identity,
        teacher=teacher,
        teacher_files=records,
        segment_rows=segment_rows,
        segments=(),
        versions={name: version(name) for name in ("torch", "transformers", "zarr", "numpy")},
    )
    write_manifest(store_dir, manifest)
    return StoreWriter(store_dir, manifest)


def open_store_for_writing(store_dir: Path, identity: Identity) -> StoreWriter | None:
    """Open an existing store to add to it; None where there is none.

    Files that no committed segment names are removed: a stopped run left them.

    Raises:
        StoreMismatchError: the store belongs to another teacher, tokenizer, ...
        StoreDamagedError: a committed file has another size.
        StoreIncompleteError: a committed file is missing.
    """
    if not (store_dir / MANIFEST_NAME).is_file():
        return None
    manifest = read_manifest(store_dir)
    check_identity(manifest.identity, identity, store_dir)
    check_files(store_dir, manifest)
    _drop_unfinished(store_dir, manifest)
    return StoreWriter(store_dir, manifest)


def _drop_unfinished(store_dir: Path, manifest: Manifest) -> None:
    shutil.rmtree(store_dir / PARTIAL_FOLDER, ignore_errors=True)
    (store_dir / (MANIFEST_NAME + PARTIAL_SUFFIX)).unlink(missing_ok=True)
    named = {name for name, _ in manifest.files()}
    for folder_name in (ROWS_FOLDER, *SIGNAL_FOLDERS):
        for parent, _, files in os.walk(store_dir / folder_name):
            for file in files:
                path = Path(parent, file)
                name = path.relative_to(store_dir).as_posix()
                is_group = file == GROUP_NAME and path.read_bytes() == GROUP_BYTES
                if name not in named and not is_group:
                    path.unlink()
        for parent, _, _ in os.walk(store_dir / folder_name, topdown=False):
            if parent != str(store_dir / folder_name) and not any(Path(parent).iterdir()):
                Path(parent).rmdir()


def _write_groups(store_dir: Path, array: ArraySpec) -> None:
    """Give every folder above an array the metadata that makes it a Zarr group."""
    folder = store_dir
    for part in array.name.split("/"):
        folder = folder / part
        if not (folder / GROUP_NAME).exists():
            write_file(folder / GROUP_NAME, GROUP_BYTES)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    sync_folder(target.parent)


def _record(path: Path) -> FileRecord:
    return FileRecord(size_bytes=path.stat().st_size, sha256=digest_file(path))
