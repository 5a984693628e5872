"""A segment, or more arrays of one, on the way into a store: written aside, then moved into place.

The files are written below `.partial`, forced to the disk and renamed to their final names, where
nothing may be yet. Only then is the segment made part of the store.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.storage import LocalStore

from pipeline.core.atomic import disk_full_is_an_error, make_folders, sync_folder, sync_tree
from pipeline.core.fingerprint import digest_file
from pipeline.models.architecture import Architecture
from pipeline.signals.signal import NUMPY_TYPES, Array, Encoding
from pipeline.store.files import PARTIAL_FOLDER, make_groups
from pipeline.store.manifest import ArrayRecord, FileRecord, Segment
from pipeline.store.row_table import RowTable, write_row_table
from pipeline.store.spec import CHECKSUM_BYTES, array_folder, chunk_file, metadata_file, rows_file


class SegmentDraft:
    """Arrays of one segment on their way into the store; `commit` makes them part of it."""

    def __init__(
        self,
        store_dir: Path,
        teacher: Architecture,
        segment: Segment,
        commit: Callable[[Segment], None],
    ) -> None:
        """Begin with an empty folder below `.partial`.

        `commit` makes a segment whose files are in place part of the store of this `teacher`.
        """
        self.partial_dir = store_dir / PARTIAL_FOLDER / segment.name
        shutil.rmtree(self.partial_dir, ignore_errors=True)
        self.partial_dir.mkdir(parents=True)
        self._store_dir = store_dir
        self._teacher = teacher
        self._segment = segment
        self._commit = commit
        self._has_rows = False
        self._encodings: dict[Array, Encoding] = {}

    def shape(self, array: Array) -> tuple[int, ...]:
        """Return the shape that an array of this segment must have."""
        return array.shape(self._segment.size, self._teacher)

    def write_rows(self, rows: RowTable) -> None:
        """Write the row table of a new segment."""
        path = self.partial_dir / rows_file(self._segment.name)
        path.parent.mkdir()
        with disk_full_is_an_error(path):
            write_row_table(path, rows)
        self._has_rows = True

    def write_array(self, array: Array, values: NDArray[np.generic], encoding: Encoding) -> None:
        """Write one array, which must have the shape and type its spec and encoding give."""
        assert values.shape == self.shape(array)
        assert values.dtype == NUMPY_TYPES[encoding]
        folder = array_folder(array, self._segment.name)
        with disk_full_is_an_error(self._store_dir / folder):
            target = create_array(
                LocalStore(self.partial_dir), folder, array, values.shape, encoding
            )
            target[...] = values
            if not values.size:
                self._write_empty_chunk(array)
        self._encodings[array] = encoding

    def _write_empty_chunk(self, array: Array) -> None:
        """Write the chunk that Zarr leaves out: every array has one file, if only a checksum."""
        path = self.partial_dir / chunk_file(array, self._segment.name)
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(CHECKSUM_BYTES))  # the CRC32C of nothing is 0

    def commit(self) -> None:
        """Move the files into place and name them in the manifest.

        Raises:
            DiskFullError: the store is as it was, but for files that the next writer drops.
        """
        with disk_full_is_an_error(self._store_dir):
            sync_tree(self.partial_dir)
            self._commit(self._move_into_place())

    def _move_into_place(self) -> Segment:
        """Rename the finished files to their final names; return the segment that names them."""
        store_dir, name = self._store_dir, self._segment.name
        arrays = dict(self._segment.arrays)
        rows = self._segment.rows
        if self._has_rows:
            rows = record_file(self.partial_dir / rows_file(name))
            _move(self.partial_dir / rows_file(name), store_dir / rows_file(name))
        make_groups(store_dir, self._encodings)
        for array, encoding in self._encodings.items():
            folder = array_folder(array, name)
            arrays[array.name] = ArrayRecord(
                encoding=encoding,
                metadata=record_file(self.partial_dir / metadata_file(array, name)),
                chunk=record_file(self.partial_dir / chunk_file(array, name)),
            )
            _move(self.partial_dir / folder, store_dir / folder)
        shutil.rmtree(self.partial_dir)
        ordered = {array: arrays[array] for array in sorted(arrays)}
        return self._segment.model_copy(update={"rows": rows, "arrays": ordered})


def create_array(
    store: Store, folder: str, array: Array, shape: tuple[int, ...], encoding: Encoding
) -> zarr.Array[Any]:
    """Write the metadata of an array of exactly one uncompressed chunk; return the array."""
    return zarr.create(
        store=store,
        path=folder,
        shape=shape,
        chunks=shape,
        dtype=NUMPY_TYPES[encoding].name,
        zarr_format=3,
        codecs=[BytesCodec(endian="little"), Crc32cCodec()],
        dimension_names=array.dimension_names,
        attributes={"encoding": encoding},
        config={"write_empty_chunks": True},
    )


def record_file(path: Path) -> FileRecord:
    """Return what the manifest says of a file as it is; reads all of it."""
    return FileRecord(size_bytes=path.stat().st_size, sha256=digest_file(path))


def _move(source: Path, target: Path) -> None:
    make_folders(target.parent)
    source.rename(target)
    sync_folder(target.parent)
