"""A label for each word of a text: entities, parts of speech."""

from pipeline.tasks.task import Task

TOKEN_CLASSIFICATION = Task(
    kind="token_classification",
    auto_class="AutoModelForTokenClassification",
    predicts="token",
    label_kind="word_names",
    metrics=("entity_f1", "accuracy"),
)
