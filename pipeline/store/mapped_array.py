"""One array of a store, mapped into memory segment by segment."""

import errno
import math
import os
import resource
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import OutOfMemoryError
from pipeline.store.spec import NUMPY_TYPES, Encoding


@dataclass(frozen=True)
class MappedArray:
    """An array, as far as it has been mapped."""

    encoding: Encoding
    width: int
    """Elements of a part (`ArraySpec.part`), such as a row, a token or a pair of tokens."""
    part_shape: tuple[int, ...] | None
    """None for attention maps, whose rows have matrices of other sizes each."""
    maps: dict[int, NDArray[np.generic]] = field(default_factory=dict)
    """The flat array of each segment, by the segment's position."""

    @property
    def part_bytes(self) -> int:
        """Bytes of a part."""
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
