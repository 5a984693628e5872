"""What a signal has a value of: rows, tokens, targets, or pairs of these; and how many there are.

A *target* is a label position of a language model: a place where a token of the whole vocabulary
is predicted. Only rows of the tasks that predict tokens of a vocabulary have any.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Side = Literal["token", "target"]

_Counts = TypeVar("_Counts", int, NDArray[np.int64])


class Axis(Enum):
    """What there is a vector, or a number, of; the value has the sides that differ by row."""

    SEGMENT = None
    """A segment of the store as a whole."""
    ROW = ()
    TOKEN = ("token",)
    TARGET = ("target",)
    TOKEN_PAIR = ("token", "token")
    """A query and a key, as of all pairs."""
    TARGET_PAIR = ("target", "target")
    CROSS_PAIR = ("target", "token")

    @property
    def sides(self) -> tuple[Side, ...]:
        """The axes of a row's values whose length is the row's own."""
        return self.value or ()

    @property
    def is_ragged(self) -> bool:
        """Whether rows of other lengths have other sizes."""
        return bool(self.sides)

    @property
    def is_pair(self) -> bool:
        """Whether a row has matrices, attention maps, and not vectors."""
        return len(self.sides) == 2

    @property
    def has_targets(self) -> bool:
        """Whether it exists only where tokens of a vocabulary are predicted."""
        return "target" in self.sides

    def side_lengths(self, n_tokens: _Counts, n_targets: _Counts) -> tuple[_Counts, ...]:
        """Return the lengths of the sides for such rows: of pairs, queries and keys."""
        return tuple(n_tokens if side == "token" else n_targets for side in self.sides)

    def count(
        self, lengths: NDArray[np.int64], n_targets: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Return how many each row has, from its tokens and its targets, if it has any."""
        targets = np.zeros_like(lengths) if n_targets is None else n_targets
        counts = np.ones_like(lengths)
        for side in self.side_lengths(lengths, targets):
            counts = counts * side
        return counts


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

    @classmethod
    def of(
        cls, lengths: NDArray[np.int64], n_targets: NDArray[np.int64] | None = None
    ) -> "SegmentSize":
        """Return the size of a segment of rows with these tokens and targets."""

        def total(axis: Axis) -> int:
            return int(axis.count(lengths, n_targets).sum())

        return cls(
            n_rows=len(lengths),
            n_tokens=total(Axis.TOKEN),
            n_token_pairs=total(Axis.TOKEN_PAIR),
            n_targets=total(Axis.TARGET),
            n_target_pairs=total(Axis.TARGET_PAIR),
            n_cross_pairs=total(Axis.CROSS_PAIR),
        )

    def count(self, axis: Axis) -> int:
        """Return how many all rows have."""
        return {
            Axis.SEGMENT: 1,
            Axis.ROW: self.n_rows,
            Axis.TOKEN: self.n_tokens,
            Axis.TARGET: self.n_targets,
            Axis.TOKEN_PAIR: self.n_token_pairs,
            Axis.TARGET_PAIR: self.n_target_pairs,
            Axis.CROSS_PAIR: self.n_cross_pairs,
        }[axis]
