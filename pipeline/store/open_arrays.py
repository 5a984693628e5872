"""Which of a store's arrays are here and open: mapped as they are asked for, while there is room.

An array is one file for each segment. Nothing is mapped before it is read, and where a process
may not address them all, the maps of other arrays make room.
"""

import errno
import math
import os
import resource
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import OutOfMemoryError, StoreIncompleteError
from pipeline.signals.signal import NUMPY_TYPES, Array, Encoding
from pipeline.store.files import Absent, signal_option
from pipeline.store.manifest import ArrayRecord, Manifest
from pipeline.store.spec import chunk_file


@dataclass(frozen=True)
class MappedArray:
    """An array, as far as it has been mapped."""

    encoding: Encoding
    width: int
    """Elements of each row, token, pair of tokens, ... (`Array.axis`)."""
    shape: tuple[int, ...] | None
    """Their shape; None for attention maps, whose rows have matrices of other sizes each."""
    maps: dict[int, NDArray[np.generic]] = field(default_factory=dict)
    """The flat array of each segment, by the segment's position."""

    @property
    def width_bytes(self) -> int:
        """Bytes of each row, token, ..."""
        return self.width * NUMPY_TYPES[self.encoding].itemsize


def map_file(path: Path, shape: tuple[int, ...], encoding: Encoding) -> NDArray[np.generic]:
    """Return a chunk's file as a flat array of its own memory; nothing is read yet.

    The file must be as large as the shape says. Unlike numpy's, torch's map keeps no file
    open: a store may have more files than a process may.

    Raises:
        OutOfMemoryError: the process may not address so much memory.
    """
    import torch

    from pipeline.store.encoding import TORCH_TYPES

    # numpy must hold them without conversion, and it has no bfloat16.
    dtype = torch.uint16 if encoding == "bfloat16" else TORCH_TYPES[encoding]
    try:
        bits = torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=dtype)
    except RuntimeError as error:
        if os.strerror(errno.ENOMEM) not in str(error):
            raise
        raise OutOfMemoryError(
            f"{path} cannot be mapped into memory: this process may not address so much. Raise "
            "its limit (ulimit -v), or lower training.batch_size."
        ) from error
    values: NDArray[np.generic] = bits.numpy()
    values.flags.writeable = False
    return values


def has_room(size_bytes: int, mapped_bytes: int) -> bool:
    """Say whether one more map leaves half of this process's free addresses to its other parts.

    `mapped_bytes` is what all maps have already. There is a limit only where somebody set
    one (ulimit -v).
    """
    if sys.platform != "linux":
        return True
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return True
    n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    free_bytes = limit - n_pages * resource.getpagesize() + mapped_bytes
    return 2 * (mapped_bytes + size_bytes) <= free_bytes


class OpenArrays:
    """The arrays that a manifest names, as far as they are here."""

    def __init__(self, store_dir: Path, manifest: Manifest, absent: Absent) -> None:
        """Map nothing yet; `absent` says which files of the store are not here."""
        self._store_dir = store_dir
        self._manifest = manifest
        self._absent = absent
        self._arrays: dict[Array, MappedArray] = {}
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

    def open(self, array: Array, segments: set[int]) -> MappedArray:
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

    def describe(self, array: Array, segment: int) -> MappedArray:
        """Return an array, mapped or not, that a segment must have.

        Raises:
            StoreIncompleteError: it was not captured or not fetched.
        """
        encoding = self._record(array, segment).encoding
        if array not in self._arrays:
            teacher = self._manifest.teacher
            shape = array.width(teacher)
            self._arrays[array] = MappedArray(
                encoding, math.prod(shape), None if array.axis.is_pair else shape
            )
        return self._arrays[array]

    def expect(self, array: Array, segment: int, parts: range) -> None:
        """Have the system fetch these parts of a segment's array from the disk (Linux only)."""
        opened = self.describe(array, segment)
        name = self._manifest.segments[segment].name
        begin, size = opened.width_bytes * parts.start, opened.width_bytes * len(parts)
        with (self._store_dir / chunk_file(array, name)).open("rb") as file:
            os.posix_fadvise(file.fileno(), begin, size, os.POSIX_FADV_WILLNEED)

    def release(self) -> None:
        """Unmap all arrays."""
        self._release_all_but(None, set())

    def _map(self, array: Array, index: int) -> NDArray[np.generic]:
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

    def _record(self, array: Array, index: int) -> ArrayRecord:
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
