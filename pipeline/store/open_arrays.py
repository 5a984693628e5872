"""Which of a store's arrays are here and open: mapped as they are asked for, while there is room.

An array is one file for each segment. Nothing is mapped before it is read, and where a process
may not address them all, the maps of other arrays make room.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import StoreIncompleteError
from pipeline.store.manifest import ArrayRecord, Manifest
from pipeline.store.mapped_array import MappedArray, has_room, map_file
from pipeline.store.presence import Absent, signal_option
from pipeline.store.spec import ArraySpec, chunk_file


class OpenArrays:
    """The arrays that a manifest names, as far as they are here."""

    def __init__(self, store_dir: Path, manifest: Manifest, absent: Absent) -> None:
        """Map nothing yet; `absent` says which files of the store are not here."""
        self._store_dir = store_dir
        self._manifest = manifest
        self._absent = absent
        self._arrays: dict[ArraySpec, MappedArray] = {}
        self._mapped_bytes = 0

    def check_here(self, names: Iterable[str]) -> None:
        """Refuse arrays that were captured, but are not here because they were not fetched.

        Raises:
            StoreIncompleteError: naming the first, and the command that brings it.
        """
        for name in sorted(self._absent.arrays.keys() & set(names)):
            raise StoreIncompleteError(
                f"{self._store_dir} is partial: '{name}' was captured, but is not here for "
                f"{len(self._absent.arrays[name])} of {len(self._manifest.segments)} segments. "
                f"Run 'decant fetch {self._store_dir} --signal {signal_option(name)}' to bring it."
            )

    def open(self, array: ArraySpec, segments: set[int]) -> MappedArray:
        """Return an array that is mapped in these segments at least.

        Raises:
            StoreIncompleteError: one of them does not have it.
            OutOfMemoryError: the process may not address so much memory.
        """
        opened = self.describe(array, min(segments))
        for index in segments - opened.maps.keys():
            values = self._map(array, index)
            if not has_room(values.nbytes, self._mapped_bytes):
                self._release_all_but(opened, segments)
            opened.maps[index] = values
            self._mapped_bytes += values.nbytes
        return opened

    def describe(self, array: ArraySpec, segment: int) -> MappedArray:
        """Return an array, mapped or not, that a segment must have.

        Raises:
            StoreIncompleteError: it was not captured or not fetched.
        """
        encoding = self._record(array, segment).encoding
        if array not in self._arrays:
            teacher = self._manifest.teacher
            shape = array.part_shape(teacher)
            self._arrays[array] = MappedArray(
                encoding, math.prod(shape), None if array.is_map else shape
            )
        return self._arrays[array]

    def expect(self, array: ArraySpec, segment: int, parts: range) -> None:
        """Have the system fetch these parts of a segment's array from the disk (Linux only)."""
        opened = self.describe(array, segment)
        name = self._manifest.segments[segment].name
        begin, size = opened.part_bytes * parts.start, opened.part_bytes * len(parts)
        with (self._store_dir / chunk_file(array, name)).open("rb") as file:
            os.posix_fadvise(file.fileno(), begin, size, os.POSIX_FADV_WILLNEED)

    def release(self) -> None:
        """Unmap all arrays."""
        self._release_all_but(None, set())

    def _map(self, array: ArraySpec, index: int) -> NDArray[np.generic]:
        """Return one segment's array, flat, mapped into memory."""
        segment = self._manifest.segments[index]
        # The manifest's sizes agree with the shape, and the file's with the manifest.
        return map_file(
            self._store_dir / chunk_file(array, segment.name),
            array.shape(segment.size, self._manifest.teacher),
            self._record(array, index).encoding,
        )

    def _release_all_but(self, kept: MappedArray | None, segments: set[int]) -> None:
        for opened in self._arrays.values():
            for index in list(opened.maps):
                if opened is not kept or index not in segments:
                    self._mapped_bytes -= opened.maps.pop(index).nbytes

    def _record(self, array: ArraySpec, index: int) -> ArrayRecord:
        """Return what the manifest says of one segment's array."""
        segment = self._manifest.segments[index]
        record = segment.arrays.get(array.name)
        if record is None:
            raise StoreIncompleteError(
                f"{self._store_dir}: segment {segment.name} has no '{array.name}'; it holds "
                f"{', '.join(segment.arrays)}. Add it under capture.signals and run "
                "'dvc repro capture'."
            )
        if segment.name in self._absent.arrays.get(array.name, ()):
            self.check_here([array.name])
        return record
