"""Memory for batches that is used again once nobody holds a view of it.

The system clears a large new allocation before the reader fills it, which takes as long as
filling it; the allocator gives most of it back as soon as a batch is dropped.
"""

import sys
from collections import deque

import numpy as np
from numpy.typing import NDArray

_SMALLEST_BYTES = 256 * 2**10
"""Below this the allocator's own reuse is as good."""
_MOST_BYTES = 256 * 2**20
"""What is kept at most, in use or not; a batch of BERT-base with six maps has 76 MB."""


class RecycledMemory:
    """Hands out memory; whatever still refers to a piece keeps it from being used again."""

    def __init__(self) -> None:
        self._kept: deque[NDArray[np.uint8]] = deque()
        # What Python counts for a buffer that nobody uses differs between its versions.
        _, self._references_when_free = _pop(deque([np.empty(1, np.uint8)]))

    def take(self, size_bytes: int) -> NDArray[np.uint8]:
        """Return memory of that size with anything in it."""
        if size_bytes < _SMALLEST_BYTES:
            return np.empty(size_bytes, np.uint8)
        for _ in range(len(self._kept)):
            try:
                # The last one used may still be in the processor's cache. No other thread can
                # see a buffer that was taken out.
                buffer, n_references = _pop(self._kept)
            except IndexError:
                break
            is_free = n_references == self._references_when_free
            fits = size_bytes <= len(buffer) <= 2 * size_bytes
            if is_free and fits:
                view = buffer[:size_bytes]
                self._kept.append(buffer)
                return view
            self._kept.appendleft(buffer)
        buffer = np.empty(size_bytes + size_bytes // 4, np.uint8)
        view = buffer[:size_bytes]
        self._kept.append(buffer)
        while sum(len(kept) for kept in tuple(self._kept)) > _MOST_BYTES:
            self._kept.popleft()
        return view


def _pop(buffers: deque[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int]:
    """Take the last buffer out; return it with the number of references to it."""
    buffer = buffers.pop()
    return buffer, sys.getrefcount(buffer)
