"""Several processes that train one student: who computes what of a batch, or of a split."""

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from jaxtyping import Float
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipeline.models.inputs import Inputs
from pipeline.models.predict import predict, predict_pieces
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Unit
from pipeline.text.tokens import TokenSplit
from pipeline.train.settings import TrainingSettings
from pipeline.train.state import autocast


def make_accelerator(device: torch.device) -> Accelerator:
    """Return what connects this process with those that train the same student.

    Within `processes.joined_processes`, or in a process that trains alone.
    """
    # Which weights have gradients depends on the objectives: a match of [CLS] states leaves
    # the classifier's out. Buffers are constants.
    connection = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    return Accelerator(cpu=device.type == "cpu", kwargs_handlers=[connection])


def parts_of(
    batch: NDArray[np.int64], rank: int, count: int, most: int | None
) -> list[NDArray[np.int64]]:
    """Return the rows of a batch that a process computes, in parts of at most `most`.

    Neighbours of a batch, which are of similar length, go to different processes. A
    process for which a short batch has no row gets one empty part.
    """
    mine = batch[rank::count]
    if most is None or len(mine) <= most:
        return [mine]
    return np.split(mine, range(most, len(mine), most))


Said = Float[np.ndarray, "flat label"] | PiecePredictions
"""A model's logits for a split, or what it says of the pieces that the split asks for."""


def predict_shared(
    student: PreTrainedModel,
    split: TokenSplit,
    predicts: Unit,
    training: TrainingSettings,
    accelerator: Accelerator,
    inputs: Inputs,
) -> Said:
    """Return what the student says of a split, of which every process computes its share."""
    shares = {"rank": accelerator.process_index, "count": accelerator.num_processes}
    if predicts == "piece":
        with autocast(training, accelerator.device):
            own = predict_pieces(student, split, inputs, **shares)
        right, first = (
            accelerator.reduce(torch.from_numpy(part).to(accelerator.device), "sum").cpu().numpy()
            for part in (own.log_probabilities, own.predicted)
        )
        return PiecePredictions(right, first)
    with autocast(training, accelerator.device):
        logits = predict(student, split, inputs, predicts=predicts, **shares)
    shared = torch.from_numpy(logits).to(accelerator.device)
    whole: Float[np.ndarray, "flat label"] = accelerator.reduce(shared, "sum").cpu().numpy()
    return whole
