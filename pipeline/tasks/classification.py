"""One label for each text or pair of texts."""

from pipeline.tasks.task import Task

CLASSIFICATION = Task(
    kind="classification",
    auto_class="AutoModelForSequenceClassification",
    predicts="row",
    label_kind="name",
    metrics=("accuracy", "macro_f1", "expected_calibration_error"),
    problem_type="single_label_classification",
)
