"""The labelled examples of a split, as Transformers' `Trainer` learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from pipeline.models.inputs import Inputs
from pipeline.tasks.task import Task
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Labels, TokenSplit


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
        """Return what `Trainer` kept of the examples as that of the whole split, 0 for all others.

        That of an example's tokens, choices or label positions may be padded.
        """
        offsets, parts = self._task.parts_of(self.split, logits)
        whole = np.zeros((offsets[-1], parts.shape[2]), logits.dtype)
        for example, padded in zip(self._examples, parts, strict=True):
            begin, end = offsets[example : example + 2]
            whole[begin:end] = padded[: end - begin]
        return whole


class Collator:
    """Makes a batch of labelled examples."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerFast) -> None:
        self._task = task
        has_token_types = "token_type_ids" in tokenizer.model_input_names
        self._inputs = Inputs(int(tokenizer.pad_token_id or 0), has_token_types)

    def __call__(self, examples: Sequence[LabelledExample]) -> dict[str, Tensor]:
        """Return the model's inputs (row, token) and the `labels` that the task's loss reads."""
        rows = [row for example in examples for row in example.rows]
        inputs = self._inputs.pad(rows)
        labels = [(len(example.rows), example.labels) for example in examples]
        return {**inputs, "labels": self._task.trainer_labels(labels, inputs["attention_mask"])}
