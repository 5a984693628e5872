"""A number for each text or pair of texts, such as how alike the two are."""

from pipeline.tasks.task import Task

REGRESSION = Task(
    kind="regression",
    auto_class="AutoModelForSequenceClassification",
    predicts="row",
    label_kind="number",
    metrics=("pearson", "spearman", "mean_squared_error"),
    problem_type="regression",
)
