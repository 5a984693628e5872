"""A model's predictions for a whole split of a token table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.models.inputs import ModelRows
from pipeline.tasks.pieces import in_classes
from pipeline.tasks.predictions import InVocabulary, Predictions, predictions_of
from pipeline.tasks.task import BY_TOKEN, Task
from pipeline.text.tokens import TokenSplit

_PREDICTION_ROWS = 64
_PREDICTION_TARGETS = 1024
"""With a vocabulary of 50,000 token ids their logits are 200 MB."""

ModelInputs = dict[str, Int[Tensor, "batch token"]]
LogitsOf = Callable[[ModelInputs], Float[Tensor, "..."]]
"""Gives the float32 logits of a padded batch: (row, label), (row, token, label), or those of a
language model at the batch's label positions, (target, token id)."""
TopOf = Callable[[NDArray[np.int64]], Int[Tensor, "target k"]]
"""Gives a teacher's likeliest token ids for these rows of a split, row after row."""


@dataclass(frozen=True)
class Share:
    """What one of several processes predicts of a split."""

    rank: int = 0
    count: int = 1
    total: Callable[[NDArray[np.generic]], NDArray[np.generic]] = np.asarray
    """Adds up an array over all processes."""


_ALL = Share()


def predict(
    model: PreTrainedModel | LogitsOf,
    rows: ModelRows,
    task: Task,
    names: tuple[str, ...],
    *,
    top_of: TopOf | None = None,
    share: Share = _ALL,
) -> Predictions:
    """Return a model's predictions for a whole split, in its order.

    `rows` are the split's as the model reads them, `names` those of the labels; the rest as
    `flat_logits` takes it.
    """
    logits, in_vocabulary = flat_logits(model, rows, task, len(names), top_of=top_of, share=share)
    return predictions_of(logits, rows.split, task, names, in_vocabulary)


def flat_logits(
    model: PreTrainedModel | LogitsOf,
    rows: ModelRows,
    task: Task,
    n_labels: int,
    *,
    top_of: TopOf | None = None,
    share: Share = _ALL,
) -> tuple[Float[np.ndarray, "flat width"], InVocabulary | None]:
    """Return all logits of a model for a split, in its order, as `predictions_of` takes them.

    They are (row, label), or (token, label), row after row. Of a language model the logits of the
    whole vocabulary live only as long as their batch: with `top_of`, those in its teacher's
    classes are kept. Each process computes its share of the rows and has zeros for all others, so
    that the sum over processes is the whole.
    """
    device, logits_of = torch.device("cpu"), model
    if isinstance(model, PreTrainedModel):
        device, logits_of = next(model.parameters()).device, _forward_of(model)
    batches = (
        (chosen, logits_of(rows.batch(chosen, device)))
        for chosen in _batches(rows.split, share.rank, share.count)
    )
    with torch.inference_mode():
        if task.predicts == "piece":
            return _in_vocabulary(batches, rows.split, top_of, share)
        flat = _flat(batches, rows.split, n_labels, by_token=task.predicts in BY_TOKEN)
        return share.total(flat), None


def _forward_of(model: PreTrainedModel) -> LogitsOf:
    model.eval()

    def logits_of(inputs: ModelInputs) -> Float[Tensor, "..."]:
        logits: Float[Tensor, ...] = model(**inputs).logits.float()
        return logits

    return logits_of


def _in_vocabulary(
    batches: Iterator[tuple[NDArray[np.int64], Tensor]],
    split: TokenSplit,
    top_of: TopOf | None,
    share: Share,
) -> tuple[Float[np.ndarray, "target class"], InVocabulary]:
    """Return a split's logits in a teacher's classes, none without one, and what else is kept."""
    n_targets = len(split.labels)
    first = torch.zeros(n_targets, dtype=torch.int64)
    of_label, of_first = torch.zeros(n_targets), torch.zeros(n_targets)
    classes = torch.zeros(n_targets, 0)
    for rows, logits in batches:
        places = torch.from_numpy(split.label_places(rows))
        labels = torch.from_numpy(split.labels_of(rows)).to(logits.device)
        chosen = logits.gather(1, labels[:, None])[:, 0]
        log_sum_exp = logits.logsumexp(1)
        largest, likeliest = logits.max(1)
        of_label[places] = (chosen - log_sum_exp).cpu()
        of_first[places] = (largest - log_sum_exp).cpu()
        first[places] = likeliest.cpu()
        if top_of is not None:
            of_batch = in_classes(logits, top_of(rows).to(logits.device)).cpu()
            if not classes.shape[1]:
                classes = torch.zeros(n_targets, of_batch.shape[1])
            classes[places] = of_batch
    found = [share.total(part.numpy()) for part in (of_label, first)]
    return classes.numpy(), InVocabulary(
        found[0], found[1], None if top_of is None else of_first.numpy()
    )


def _flat(
    batches: Iterator[tuple[NDArray[np.int64], Tensor]],
    split: TokenSplit,
    n_labels: int,
    *,
    by_token: bool,
) -> Float[np.ndarray, "flat label"]:
    """Return a split's logits, (row, label), or (token, label), row after row."""
    n_vectors = len(split.input_ids) if by_token else len(split)
    flat = np.zeros((n_vectors, n_labels), dtype=np.float32)
    for rows, logits in batches:
        padded = logits.cpu().numpy()
        if not by_token:
            flat[rows] = padded
            continue
        for row, own in zip(rows, padded, strict=True):
            flat[split.offsets[row] : split.offsets[row + 1]] = own[: split.lengths[row]]
    return flat


def _batches(split: TokenSplit, rank: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Yield this process's rows, from the shortest to the longest, in batches.

    None has more rows or, unless it is a single row, more label positions than is allowed.
    """
    order = np.argsort(split.lengths, kind="stable")[rank::count]
    n_targets, start = split.n_targets[order], 0
    while start < len(order):
        asked = np.cumsum(n_targets[start : start + _PREDICTION_ROWS])
        stop = start + max(1, int(np.count_nonzero(asked <= _PREDICTION_TARGETS)))
        yield order[start:stop]
        start = stop
