"""One label for each text or pair of texts."""

from transformers import AutoModelForSequenceClassification

from pipeline.tasks.task import Task

CLASSIFICATION = Task(
    kind="classification",
    auto_model=AutoModelForSequenceClassification,
    logits_axes=("row", "label"),
    primary_metric="accuracy",
)
