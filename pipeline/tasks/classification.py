"""One label for each text or pair of texts."""

from pipeline.tasks.task import Task

CLASSIFICATION = Task(
    kind="classification",
    auto_class="AutoModelForSequenceClassification",
    logits_axes=("row", "label"),
    primary_metric="accuracy",
)
