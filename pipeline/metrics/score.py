"""How good a model's answers are: against the labels, by the metrics of its task.

No model is run here, and nothing is read or written.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipeline.metrics import METRICS
from pipeline.metrics.answers import Answers, answers_of
from pipeline.tasks.task import Task
from pipeline.text.tokens import TokenSplit


def score(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return the metrics by name, over the labelled predictions; without one, nothing.

    Raises:
        DataError: the shapes do not fit, a label is not a column of the logits, or a metric
            is not one of these labels.
        SignalError: a logit is infinite or not a number.
    """
    labelled = answers.labelled()
    if not len(labelled.labels):
        return {}
    return {name: METRICS[name].compute(labelled) for name in metrics}


def score_split(
    task: Task,
    names: Sequence[str],
    flat_logits: Float[np.ndarray, "flat width"],
    split: TokenSplit,
) -> dict[str, float]:
    """Return the task's metrics of a model's flat logits for a whole split.

    `names` are those of the labels. As `score`, which also says what is raised.
    """
    return score(task.metrics, answers_of(flat_logits, split, task.predicts, tuple(names)))
