"""How good a model's answers are: against the labels, by the metrics of its task.

No model is run here, and nothing is read or written.
"""

from collections.abc import Sequence

from pipeline.metrics import METRICS
from pipeline.metrics.answers import Answers, FlatLogits, answers_of
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.task import Task
from pipeline.text.tokens import TokenSplit


def score(metrics: Sequence[str], answers: Answers) -> dict[str, float]:
    """Return the metrics by name, over the labelled predictions; without one, nothing.

    Those that read written texts are left out where there are none.

    Raises:
        DataError: the shapes do not fit, a label is not a column of the logits, or a metric
            is not one of these labels.
        SignalError: a logit is infinite or not a number.
    """
    labelled = answers.labelled()
    if not len(labelled.labels):
        return {}
    return {
        name: METRICS[name].compute(labelled)
        for name in metrics
        if answers.written is not None or not METRICS[name].reads_texts
    }


def score_split(
    task: Task,
    names: Sequence[str],
    said: FlatLogits | PiecePredictions,
    split: TokenSplit,
) -> dict[str, float]:
    """Return the task's metrics of what a model says of a whole split, as `answers_of` has it.

    `names` are those of the labels. As `score`, which also says what is raised.
    """
    return score(task.metrics, answers_of(said, split, task.predicts, tuple(names)))
