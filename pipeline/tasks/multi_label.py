"""Any number of labels for each text or pair of texts."""

from pipeline.tasks.task import Task

MULTI_LABEL = Task(
    kind="multi_label",
    auto_class="AutoModelForSequenceClassification",
    predicts="label",
    label_kind="names",
    metrics=("micro_f1", "macro_f1", "exact_match"),
    problem_type="multi_label_classification",
)
