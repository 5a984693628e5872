"""A model's logits for a whole split."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedModel

from pipeline.text.padding import pad_rows
from pipeline.text.tokens import TokenSplit

_PREDICTION_ROWS = 64


def predict(
    model: PreTrainedModel,
    split: TokenSplit,
    pad_id: int,
    *,
    has_token_types: bool,
    rank: int = 0,
    count: int = 1,
) -> Float[np.ndarray, "row label"]:
    """Return a model's logits (row, label) for a whole split, in its order.

    Of `count` processes, each computes its share of the rows and gives zeros for all
    others: the sum over processes is the whole, with no row twice.
    """
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort(split.lengths, kind="stable")[rank::count]
    logits = np.zeros((len(split), int(model.config.num_labels or 0)), dtype=np.float32)
    with torch.inference_mode():
        for rows in np.split(order, range(_PREDICTION_ROWS, len(order), _PREDICTION_ROWS)):
            if not len(rows):
                continue
            inputs: dict[str, Any] = pad_rows(
                [split.row(row) for row in rows], pad_id, has_token_types=has_token_types
            )
            outputs = model(**{key: value.to(device) for key, value in inputs.items()})
            logits[rows] = outputs.logits.float().cpu().numpy()
    return logits
