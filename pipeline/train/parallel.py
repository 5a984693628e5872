"""Several processes that train one student: who computes what of a batch, or of a split."""

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipeline.models.inputs import ModelRows
from pipeline.models.predict import Share, predict
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import Task
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


def predict_shared(
    student: PreTrainedModel,
    rows: ModelRows,
    task: Task,
    names: tuple[str, ...],
    training: TrainingSettings,
    accelerator: Accelerator,
) -> Predictions:
    """Return the student's predictions for a split, of which every process computes its share."""

    def total(part: NDArray[np.generic]) -> NDArray[np.generic]:
        shared = torch.from_numpy(part).to(accelerator.device)
        whole: NDArray[np.generic] = accelerator.reduce(shared, "sum").cpu().numpy()
        return whole

    share = Share(accelerator.process_index, accelerator.num_processes, total)
    with autocast(training, accelerator.device):
        return predict(student, rows, task, names, share=share)
