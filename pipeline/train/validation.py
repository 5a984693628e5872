"""A student's predictions while it is trained, on one process or several."""

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import PreTrainedModel

from pipeline.models.model_rows import ModelRows
from pipeline.models.predict import Share, predict
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import Task
from pipeline.train.precision import autocast
from pipeline.train.settings import TrainingSettings


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
