"""The labelled examples of a split, as Transformers' `Trainer` learns from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from pipeline.tasks.predictions import arrange, places_of_choices
from pipeline.tasks.task import Task
from pipeline.text.padding import pad_rows
from pipeline.text.tokens import IGNORED, UNLABELLED, TokenSplit, is_labelled


class LabelledExamples(Dataset[int]):
    """The examples of a split with a label; an item is an example's number."""

    def __init__(self, split: TokenSplit, task: Task, tokenizer: PreTrainedTokenizerFast) -> None:
        self.split = split
        self._task = task
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._has_token_types = "token_type_ids" in tokenizer.model_input_names
        is_known = is_labelled(split.labels) & (split.labels != IGNORED)
        n_known = np.concatenate([[0], np.cumsum(is_known)])
        first = split.label_offsets[split.first_rows]
        self._examples = np.flatnonzero(np.diff(n_known[first]))

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> int:
        return int(self._examples[index])

    def collate(self, examples: Sequence[int]) -> dict[str, Tensor]:
        """Return the model's inputs (row, token) and `labels` of these examples.

        `labels` are as the model's own loss wants them; for questions with choices (row, 2),
        as `loss_of_questions` does: which question of the batch, and whether it is right.
        """
        chosen = np.array(examples)
        rows = self.split.rows_of(chosen)
        inputs = pad_rows(
            [self.split.row(row) for row in rows],
            self._pad_id,
            has_token_types=self._has_token_types,
        )
        return {**inputs, "labels": self._labels(chosen, inputs["attention_mask"])}

    def _labels(self, examples: "np.ndarray[Any, np.dtype[np.int64]]", mask: Tensor) -> Tensor:
        labels = torch.from_numpy(self.split.labels_of(self.split.rows_of(examples)))
        if self._task.predicts == "token":
            padded = torch.full(mask.shape, IGNORED)
            padded[mask.bool()] = torch.where(labels == UNLABELLED, IGNORED, labels)
            return padded
        if self._task.predicts == "label":
            return labels.view(len(examples), -1).float()
        if self._task.predicts == "choice":
            counts = np.diff(self.split.first_rows)[examples]
            questions = torch.from_numpy(np.repeat(np.arange(len(examples)), counts))
            return torch.stack([questions, labels], 1)
        return labels.float() if labels.is_floating_point() else labels

    def flat(
        self, logits: Float[np.ndarray, "row *token label"]
    ) -> Float[np.ndarray, "flat label"]:
        """Return logits of the examples' rows as those of the whole split, 0 for all others."""
        rows = self.split.rows_of(self._examples)
        if self._task.predicts != "token":
            whole = np.zeros((len(self.split), logits.shape[1]), logits.dtype)
            whole[rows] = logits
            return whole
        whole = np.zeros((len(self.split.input_ids), logits.shape[2]), logits.dtype)
        for row, padded in zip(rows, logits, strict=True):
            begin, end = self.split.offsets[row : row + 2]
            whole[begin:end] = padded[: end - begin]
        return whole


def loss_of_questions(
    outputs: dict[str, Tensor], labels: Tensor, num_items_in_batch: Tensor | None = None
) -> Tensor:
    """Return the mean over questions of -log softmax(logits of its choices)[right], in nats.

    A question may have more choices than another; Transformers' own loss knows no such.
    """
    questions, is_right = labels.unbind(1)
    places = torch.from_numpy(places_of_choices(questions.bincount().cpu().numpy()))
    places = places.to(labels.device)
    right = (is_right[places.clamp(min=0)] * (places >= 0)).argmax(1)
    return cross_entropy(arrange(outputs["logits"].float(), "choice", places), right)
