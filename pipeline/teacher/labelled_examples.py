"""The labelled examples of a split, as Transformers' `Trainer` learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from pipeline.models.padding import pad_rows
from pipeline.tasks.predictions import ABSENT, arrange, places_of_parts
from pipeline.tasks.task import BY_TOKEN, Task
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import IGNORED, UNLABELLED, Labels, TokenSplit


@dataclass(frozen=True)
class LabelledExample:
    """The rows of an example, and their labels, joined."""

    rows: list[TokenRow]
    labels: Labels


class LabelledExamples(Dataset[LabelledExample]):
    """The examples of a split that have a label."""

    def __init__(self, split: TokenSplit, task: Task) -> None:
        self.split = split
        self._task = task
        self._examples = np.flatnonzero(split.has_label)

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def n_tokens(self) -> int:
        """Tokens of all rows together."""
        return int(self.split.lengths[self.split.rows_of(self._examples)].sum())

    def __getitem__(self, index: int) -> LabelledExample:
        rows = self.split.rows_of(self._examples[[index]])
        return LabelledExample([self.split.row(row) for row in rows], self.split.labels_of(rows))

    def flat(
        self, logits: Float[np.ndarray, "example *part label"]
    ) -> Float[np.ndarray, "flat label"]:
        """Return logits of the examples as those of the whole split, 0 for all others.

        Those of an example's tokens, or choices (see `logits_of_questions`), may be padded; of
        word pieces they are what `said_of_pieces` makes of them.
        """
        if self._task.predicts in BY_TOKEN:
            offsets, parts = self.split.offsets, logits
        elif self._task.predicts == "piece":
            offsets, parts = self.split.label_offsets, logits
        elif self._task.predicts == "choice":
            offsets, parts = self.split.first_rows, logits[:, :, None]
        else:
            offsets, parts = self.split.first_rows, logits[:, None]
        whole = np.zeros((offsets[-1], parts.shape[2]), logits.dtype)
        for example, padded in zip(self._examples, parts, strict=True):
            begin, end = offsets[example : example + 2]
            whole[begin:end] = padded[: end - begin]
        return whole


class Collator:
    """Makes a batch of labelled examples."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerFast) -> None:
        self._task = task
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._has_token_types = "token_type_ids" in tokenizer.model_input_names

    def __call__(self, examples: Sequence[LabelledExample]) -> dict[str, Tensor]:
        """Return the model's inputs (row, token) and `labels` of these examples.

        `labels` are as the model's own loss wants them; for questions with choices (row, 2),
        as `loss_of_questions` does: which question of the batch, and whether it is right; for
        spans (row, 3), as `loss_of_spans` does: first token, last token, and how many there are;
        for word pieces (row, target), -100 behind a row's last.
        """
        rows = [row for example in examples for row in example.rows]
        inputs = pad_rows(rows, self._pad_id, has_token_types=self._has_token_types)
        return {**inputs, "labels": self._labels(examples, inputs["attention_mask"])}

    def _labels(self, examples: Sequence[LabelledExample], mask: Tensor) -> Tensor:
        labels = torch.from_numpy(np.concatenate([example.labels for example in examples]))
        if self._task.predicts == "piece":
            n_targets = torch.tensor([len(example.labels) for example in examples])
            padded = torch.full((len(examples), max(1, int(n_targets.max()))), IGNORED)
            padded[torch.arange(padded.shape[1]) < n_targets[:, None]] = labels
            return padded
        if self._task.predicts == "token":
            padded = torch.full(mask.shape, IGNORED)
            padded[mask.bool()] = torch.where(labels == UNLABELLED, IGNORED, labels)
            return padded
        if self._task.predicts == "label":
            return labels.view(len(examples), -1).float()
        if self._task.predicts == "choice":
            counts = [len(example.rows) for example in examples]
            questions = torch.from_numpy(np.repeat(np.arange(len(examples)), counts))
            return torch.stack([questions, labels], 1)
        if self._task.predicts == "span":
            return torch.cat([labels.view(-1, 2), mask.sum(1, keepdim=True)], 1)
        return labels.float() if labels.is_floating_point() else labels


def logits_of_questions(
    logits: Float[Tensor, "row 1"], labels: Int[Tensor, "row 2"]
) -> Float[Tensor, "question choice"]:
    """Return the logits of each question's choices, as `tasks.predictions` arranges them."""
    return arrange(logits.float(), "choice", _places(labels))


def loss_of_questions(
    outputs: dict[str, Tensor], labels: Tensor, num_items_in_batch: Tensor | None = None
) -> Tensor:
    """Return the mean over questions of -log softmax(logits of its choices)[right], in nats.

    A question may have more choices than another; Transformers' own loss knows no such.
    """
    places = _places(labels)
    right = (labels[:, 1][places.clamp(min=0)] * (places >= 0)).argmax(1)
    return cross_entropy(logits_of_questions(outputs["logits"], labels), right)


def loss_of_spans(
    outputs: dict[str, Tensor], labels: Tensor, num_items_in_batch: Tensor | None = None
) -> Tensor:
    """Return the mean over first and last tokens of -log softmax(logits of the row's)[right].

    In nats. Padding is no token; Transformers' own loss takes it for some.
    """
    logits = outputs["logits"].float()
    is_padding = torch.arange(logits.shape[1], device=labels.device) >= labels[:, 2:]
    return cross_entropy(logits.masked_fill(is_padding[..., None], ABSENT), labels[:, :2])


def loss_of_pieces(
    outputs: dict[str, Tensor],
    labels: Int[Tensor, "row target"],
    num_items_in_batch: Tensor | None = None,
) -> Tensor:
    """Return the mean over targets of -log softmax(logits (target, piece))[right piece], in nats.

    A batch that asks for nothing gives zero.
    """
    right = labels[labels != IGNORED]
    return cross_entropy(outputs["logits"].float(), right, reduction="sum") / max(1, len(right))


def said_of_pieces(
    logits: Float[Tensor, "target piece"] | tuple[Tensor, ...], labels: Int[Tensor, "row target"]
) -> Float[Tensor, "row target 2"]:
    """Return the right piece's log-probability and the likeliest piece's number.

    `Trainer` keeps what this returns of a whole split, which could not keep the logits. It
    gives an encoder's states behind them, where there is an encoder of its own.
    """
    is_target = labels != IGNORED
    logits = (logits[0] if isinstance(logits, tuple) else logits).float()
    right = logits.gather(1, labels[is_target][:, None])[:, 0] - logits.logsumexp(1)
    said = torch.full((*labels.shape, 2), float(IGNORED), device=logits.device)
    said[is_target] = torch.stack([right, logits.argmax(1).float()], 1)
    return said


LOSSES = {"choice": loss_of_questions, "span": loss_of_spans, "piece": loss_of_pieces}
"""Losses that are not the model's own, by what the task predicts."""
KEPT_TO_JUDGE = {"choice": logits_of_questions, "piece": said_of_pieces}
"""What is made of a batch's logits for the metrics, where they do not stay as they are."""


def _places(labels: Int[Tensor, "row 2"]) -> Int[Tensor, "question choice"]:
    """Return which row is each choice of a question, -1 where there is none."""
    counts = labels[:, 0].bincount().cpu().numpy()
    return torch.from_numpy(places_of_parts(counts)).to(labels.device)
