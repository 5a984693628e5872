"""`task.metrics` of params.yaml."""

import pytest

from pipeline.metrics.scores import metric_faults
from pipeline.tasks import TASKS
from pipeline.tasks.task import TaskSettings


@pytest.mark.parametrize(
    ("kind", "metrics", "fault"),
    [
        (
            "regression",
            ("matthews",),
            "task.metrics: matthews is not of regression; choose among pearson, spearman, "
            "mean_squared_error",
        ),
        ("classification", ("mathews",), "there is no metric 'mathews'; did you mean 'matthews'?"),
        ("regression", ("wer",), "no metric 'wer'; known: pearson, spearman, mean_squared_error"),
        ("classification", (), "name at least one metric, and each once; found []"),
        ("classification", ("f1", "f1"), "each once; found ['f1', 'f1']"),
        (
            "sequence_to_sequence",
            ("bleu", "perplexity"),
            "bleu needs generated texts; put perplexity before it",
        ),
    ],
)
def test_metrics_that_do_not_fit_are_refused(
    kind: str, metrics: tuple[str, ...], fault: str
) -> None:
    """Catches a fault that is found after hours, and weights that no number chooses."""
    settings = TaskSettings.model_validate({"kind": kind, "metrics": metrics})
    (found,) = metric_faults(settings)
    assert found.startswith("task.metrics: ")
    assert fault in found


@pytest.mark.parametrize(
    "metrics", [None, ("matthews",), ("f1", "accuracy"), ("accuracy", "expected_calibration_error")]
)
def test_chosen_metrics_take_the_place_of_the_tasks_own(metrics: tuple[str, ...] | None) -> None:
    """Catches a choice that is checked and then not used."""
    settings = TaskSettings(metrics=metrics)
    assert metric_faults(settings) == []
    task = TASKS["classification"].judged_by(settings.metrics)
    assert task.metrics == (metrics or TASKS["classification"].metrics)
    assert task.primary_metric == (metrics or ("accuracy",))[0]
