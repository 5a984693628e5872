"""What a model says of word pieces: in numbers that do not grow with its vocabulary."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class PiecePredictions:
    """A model's answers for all targets of a split, row after row."""

    log_probabilities: Float[np.ndarray, " target"]
    """Of the right pieces, in nats."""
    predicted: Int[np.ndarray, " target"]
    """The pieces that the model puts first."""
    classes: Float[np.ndarray, "target class"] | None = None
    """Logits of the teacher's classes: its largest pieces, and last all others together. None
    where no teacher is compared with."""
