"""Rows by key: an index over the 16-byte keys of a million rows in 16 bytes a row."""

import numpy as np
from numpy.typing import NDArray


class KeyIndex:
    """Finds keys by their first 8 bytes; a key is a hash, so these all but identify it."""

    def __init__(self, keys: NDArray[np.void]) -> None:
        """Index `keys`, of 16 bytes each, by their positions."""
        self._keys = keys.view(_HALVES)
        heads = self._keys["head"]
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]
        begins = np.flatnonzero(np.diff(self._heads, prepend=~self._heads[:1]) != 0)
        run_lengths = np.diff(begins, append=len(keys))
        self._longest_run = int(run_lengths.max(initial=0))

    def n_repeated(self) -> int:
        """Return how many keys are there a second time."""
        if self._longest_run < 2:
            return 0
        return len(self._keys) - len(np.unique(self._keys.view("S16")))

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return each key's position, -1 where it is not there."""
        wanted = np.ascontiguousarray(keys).view(_HALVES)
        found = np.full(len(wanted), -1, dtype=np.int64)
        if not len(self._keys):
            return found
        places = np.searchsorted(self._heads, wanted["head"])
        for step in range(self._longest_run):
            positions = self._order[np.minimum(places + step, len(self._keys) - 1)]
            found = np.where(self._keys[positions] == wanted, positions, found)
        return found


_HALVES = np.dtype([("head", "<u8"), ("tail", "<u8")])
