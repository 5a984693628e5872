"""Tasks that predict token ids of a whole vocabulary, at the label positions of each row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy, in_one
from pipeline.tasks.task import Task, TrainerLoss, Unit, joined_labels
from pipeline.text.corpus import Corpus
from pipeline.text.tokens import IGNORED, Labels, TokenSplit

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class LanguageModel(Task):
    """A task whose labels are token ids, which the texts give: nobody writes them down."""

    predicts: ClassVar[Unit] = "piece"
    label_lists = None
    label_type: ClassVar[pa.DataType] = pa.list_(pa.int64())

    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return none: the outputs are the vocabulary's."""
        return []

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return what the source has: it becomes labels with the tokens."""
        return {split: table["label"].combine_chunks() for split, table in corpus.items()}

    def describe_labels(self, table: pa.Table, names: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return how many rows have label positions, and how many these are (`n_targets`)."""
        n_targets = as_numpy(in_one(table["label"]).value_lengths())
        return int((n_targets > 0).sum()), {"n_targets": int(n_targets.sum())}

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return (row, target), -100 behind a row's last."""
        import torch

        n_targets = torch.tensor([len(labels) for _, labels in examples])
        padded = torch.full((len(examples), max(1, int(n_targets.max()))), IGNORED)
        padded[torch.arange(padded.shape[1]) < n_targets[:, None]] = joined_labels(examples)
        return padded

    def trainer_loss(self) -> TrainerLoss:
        """Return the cross entropy at label positions, at which alone models give logits."""
        return loss_of_pieces

    def kept_logits(self) -> Callable[[Any, Any], Any]:
        """Return what keeps two numbers of each label position: the logits would not fit."""
        return said_of_pieces

    def parts_of(
        self, split: TokenSplit, logits: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the offsets of rows' label positions, and what was kept of them."""
        return split.label_offsets, logits


def loss_of_pieces(
    outputs: Mapping[str, "Tensor"],
    labels: "Int[Tensor, 'row target']",
    num_items_in_batch: "Tensor | None" = None,
) -> "Tensor":
    """Return the mean over targets of -log softmax(logits (target, piece))[right piece], in nats.

    A batch that asks for nothing gives zero.
    """
    from torch.nn.functional import cross_entropy

    right = labels[labels != IGNORED]
    return cross_entropy(outputs["logits"].float(), right, reduction="sum") / max(1, len(right))


def said_of_pieces(
    logits: "Float[Tensor, 'target piece'] | tuple[Tensor, ...]",
    labels: "Int[Tensor, 'row target']",
) -> "Float[Tensor, 'row target 2']":
    """Return the right piece's log-probability and the likeliest piece's number.

    `Trainer` keeps what this returns of a whole split, which could not keep the logits. It
    gives an encoder's states behind them, where there is an encoder of its own.
    """
    import torch

    is_target = labels != IGNORED
    logits = (logits[0] if isinstance(logits, tuple) else logits).float()
    right = logits.gather(1, labels[is_target][:, None])[:, 0] - logits.logsumexp(1)
    said = torch.full((*labels.shape, 2), float(IGNORED), device=logits.device)
    said[is_target] = torch.stack([right, logits.argmax(1).float()], 1)
    return said
