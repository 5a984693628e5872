"""A model's logits for a whole split, or what it says of the word pieces that it asks for."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.models.inputs import Inputs
from pipeline.tasks.pieces import PiecePredictions, in_classes
from pipeline.tasks.task import BY_TOKEN, Unit
from pipeline.text.tokens import TokenSplit

_PREDICTION_ROWS = 64
_PREDICTION_TARGETS = 1024
"""Of a vocabulary of 50,000 word pieces their logits are 200 MB."""

ModelInputs = dict[str, Int[Tensor, "batch token"]]
LogitsOf = Callable[[ModelInputs], Float[np.ndarray, "batch *token label"]]
"""Gives the logits of a padded batch that is on the CPU."""


def predict(
    model: PreTrainedModel,
    split: TokenSplit,
    inputs: Inputs,
    *,
    predicts: Unit,
    rank: int = 0,
    count: int = 1,
) -> Float[np.ndarray, "flat label"]:
    """Return a model's logits for a whole split, in its order: (row, label).

    Of a model that predicts something of each token they are (token, label), row after row.
    Of `count` processes, each computes its share of the rows and gives zeros for all
    others: the sum over processes is the whole, with no row twice.
    """
    model.eval()
    device = next(model.parameters()).device

    def logits_of(padded: ModelInputs) -> Float[np.ndarray, "batch *token label"]:
        outputs = model(**{key: value.to(device) for key, value in padded.items()})
        logits: Float[np.ndarray, "batch *token label"] = outputs.logits.float().cpu().numpy()
        return logits

    with torch.inference_mode():
        return predict_by(
            logits_of,
            split,
            inputs,
            predicts=predicts,
            n_labels=int(model.config.num_labels or 0),
            rank=rank,
            count=count,
        )


PiecesOf = Callable[[NDArray[np.int64]], Int[Tensor, "target k"]]
"""Gives a teacher's likeliest pieces for these rows of a split, row after row."""


def predict_pieces(
    model: PreTrainedModel,
    split: TokenSplit,
    inputs: Inputs,
    *,
    pieces_of: PiecesOf | None = None,
    rank: int = 0,
    count: int = 1,
) -> PiecePredictions:
    """Return what a model says of the pieces that a split asks for, in its order.

    Logits of the whole vocabulary live only as long as their batch. With `pieces_of`, those
    in its teacher's classes are kept. Of `count` processes, each computes its share and gives
    zeros for all others, as `predict` does.
    """
    model.eval()
    device = next(model.parameters()).device

    def logits_of(padded: ModelInputs) -> Float[Tensor, "target piece"]:
        outputs = model(**{key: value.to(device) for key, value in padded.items()})
        logits: Float[Tensor, "target piece"] = outputs.logits.float()
        return logits

    with torch.inference_mode():
        return predict_pieces_by(
            logits_of,
            split,
            inputs,
            pieces_of=pieces_of,
            rank=rank,
            count=count,
        )


def predict_pieces_by(
    logits_of: Callable[[ModelInputs], Float[Tensor, "target piece"]],
    split: TokenSplit,
    inputs: Inputs,
    *,
    pieces_of: PiecesOf | None = None,
    rank: int = 0,
    count: int = 1,
) -> PiecePredictions:
    """Return the predictions as `predict_pieces` does, of whatever gives logits for a batch."""
    n_targets = len(split.labels)
    predicted = torch.zeros(n_targets, dtype=torch.int64)
    log_probabilities, of_predicted = torch.zeros(n_targets), torch.zeros(n_targets)
    classes: Tensor | None = None
    for rows in _batches(split, rank, count):
        batch = [split.row(row) for row in rows]
        logits = logits_of(inputs.pad(batch))
        places = torch.from_numpy(split.label_places(rows))
        right = torch.from_numpy(split.labels_of(rows)).to(logits.device)
        chosen = logits.gather(1, right[:, None])[:, 0]
        log_sum_exp = logits.logsumexp(1)
        largest, first = logits.max(1)
        log_probabilities[places] = (chosen - log_sum_exp).cpu()
        of_predicted[places] = (largest - log_sum_exp).cpu()
        predicted[places] = first.cpu()
        if pieces_of is not None:
            of_batch = in_classes(logits, pieces_of(rows).to(logits.device)).cpu()
            if classes is None:
                classes = torch.zeros(n_targets, of_batch.shape[1])
            classes[places] = of_batch
    return PiecePredictions(
        log_probabilities.numpy(),
        predicted.numpy(),
        None if classes is None else classes.numpy(),
        None if classes is None else of_predicted.numpy(),
    )


def predict_by(
    logits_of: LogitsOf,
    split: TokenSplit,
    inputs: Inputs,
    *,
    predicts: Unit,
    n_labels: int,
    rank: int = 0,
    count: int = 1,
) -> Float[np.ndarray, "flat label"]:
    """Return the logits as `predict` does, of whatever gives them for a batch."""
    n_vectors = len(split.input_ids) if predicts in BY_TOKEN else len(split)
    logits = np.zeros((n_vectors, n_labels), dtype=np.float32)
    for rows in _batches(split, rank, count):
        padded = logits_of(inputs.pad([split.row(row) for row in rows]))
        if predicts not in BY_TOKEN:
            logits[rows] = padded
            continue
        for row, own in zip(rows, padded, strict=True):
            logits[split.offsets[row] : split.offsets[row + 1]] = own[: split.lengths[row]]
    return logits


def _batches(split: TokenSplit, rank: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Yield this process's rows, from the shortest to the longest, in batches.

    None has more rows or, unless it is a single row, asks for more word pieces than is allowed.
    """
    order = np.argsort(split.lengths, kind="stable")[rank::count]
    n_targets, start = split.n_targets[order], 0
    while start < len(order):
        asked = np.cumsum(n_targets[start : start + _PREDICTION_ROWS])
        stop = start + max(1, int(np.count_nonzero(asked <= _PREDICTION_TARGETS)))
        yield order[start:stop]
        start = stop
