"""How much the rows of a segment have of what its arrays are made of.

A *target* is one place where a word piece of the whole vocabulary is predicted; only the
tasks that do so have any.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["row", "token", "token_pair", "target", "target_pair", "cross_pair"]
"""What an array has a vector, or a number, of. A cross pair is a target and a token."""


@dataclass(frozen=True)
class SegmentSize:
    """The lengths of a segment's rows, as far as array sizes depend on them."""

    n_rows: int
    n_tokens: int
    """Sum of the rows' lengths."""
    n_token_pairs: int
    """Sum of the squares of the rows' lengths."""
    n_targets: int = 0
    """Sum of the rows' targets."""
    n_target_pairs: int = 0
    """Sum of the squares of the rows' targets."""
    n_cross_pairs: int = 0
    """Sum of the products of the rows' targets and lengths."""

    def count(self, part: Part) -> int:
        """Return how many such parts all rows have."""
        return {
            "row": self.n_rows,
            "token": self.n_tokens,
            "token_pair": self.n_token_pairs,
            "target": self.n_targets,
            "target_pair": self.n_target_pairs,
            "cross_pair": self.n_cross_pairs,
        }[part]


def parts_of(
    part: Part, lengths: NDArray[np.int64], n_targets: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return how many such parts each row has, from its tokens and its targets, if it has any."""
    if part == "row":
        return np.ones_like(lengths)
    if part in ("token", "token_pair"):
        return lengths if part == "token" else lengths**2
    targets = np.zeros_like(lengths) if n_targets is None else n_targets
    if part == "cross_pair":
        return targets * lengths
    return targets if part == "target" else targets**2


def size_of(lengths: NDArray[np.int64], n_targets: NDArray[np.int64] | None = None) -> SegmentSize:
    """Return what array shapes follow from, for rows of these tokens and targets."""

    def total(part: Part) -> int:
        return int(parts_of(part, lengths, n_targets).sum())

    return SegmentSize(
        n_rows=len(lengths),
        n_tokens=total("token"),
        n_token_pairs=total("token_pair"),
        n_targets=total("target"),
        n_target_pairs=total("target_pair"),
        n_cross_pairs=total("cross_pair"),
    )
