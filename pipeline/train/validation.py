"""What a student says of a split while it is trained, on one process or several.

Not how good that is: the metrics are `pipeline.metrics`.
"""

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float
from transformers import PreTrainedModel

from pipeline.models.predict import predict, predict_pieces
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Unit
from pipeline.text.tokens import TokenSplit
from pipeline.train.precision import autocast
from pipeline.train.settings import TrainingSettings

Said = Float[np.ndarray, "flat label"] | PiecePredictions
"""A model's logits for a split, or what it says of the pieces that the split asks for."""


def predict_shared(
    student: PreTrainedModel,
    split: TokenSplit,
    predicts: Unit,
    training: TrainingSettings,
    accelerator: Accelerator,
    *,
    has_token_types: bool,
) -> Said:
    """Return what the student says of a split, of which every process computes its share."""
    shares = {"rank": accelerator.process_index, "count": accelerator.num_processes}
    pad_id = int(student.config.pad_token_id or 0)
    if predicts == "piece":
        with autocast(training, accelerator.device):
            own = predict_pieces(student, split, pad_id, has_token_types=has_token_types, **shares)
        right, first = (
            accelerator.reduce(torch.from_numpy(part).to(accelerator.device), "sum").cpu().numpy()
            for part in (own.log_probabilities, own.predicted)
        )
        return PiecePredictions(right, first)
    with autocast(training, accelerator.device):
        logits = predict(
            student,
            split,
            pad_id,
            predicts=predicts,
            has_token_types=has_token_types,
            **shares,
        )
    shared = torch.from_numpy(logits).to(accelerator.device)
    whole: Float[np.ndarray, "flat label"] = accelerator.reduce(shared, "sum").cpu().numpy()
    return whole
