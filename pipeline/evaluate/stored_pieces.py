"""What a teacher said of the word pieces that one stored row asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.evaluate.piece_names import name_pieces
from pipeline.store.reader import TeacherStore
from pipeline.text.token_row import PiecesAsked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class StoredPiece:
    """One place that asks for a piece."""

    place: str
    """Such as `token 4`, or of a decoder `piece 1`."""
    likeliest: str
    probability: float
    right: str | None
    """None where only the row's key is known."""
    right_probability: float

    @property
    def found(self) -> str:
        """What the teacher puts first beside what is right, for people."""
        right = "right" if self.right is None else f"right: {self.right}"
        return f"{self.likeliest} {self.probability:.4f}, {right} {self.right_probability:.4f}"


def stored_pieces(
    store: TeacherStore,
    number: int,
    tokenizer: "PreTrainedTokenizerFast",
    asked: PiecesAsked | None,
) -> tuple[StoredPiece, ...]:
    """Return the row's places in order; `asked` is what it asks for, where that is known."""
    top = store.top_logits([number])
    first = (top.values[:, 0] - top.log_sum_exp).exp().clamp(max=1).tolist()
    own = (top.target - top.log_sum_exp).exp().clamp(max=1).tolist()
    likeliest = name_pieces(top.pieces[:, 0].tolist(), tokenizer)
    right: Sequence[str | None] = [None] * len(first)
    places = [f"piece {count}" for count in range(1, len(first) + 1)]
    if asked is not None:
        right = name_pieces(asked.pieces.tolist(), tokenizer)
        if asked.masked is not None:
            places = [f"token {place}" for place in asked.masked.tolist()]
    return tuple(map(StoredPiece, places, likeliest, first, right, own))
