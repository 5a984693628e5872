"""The kinds of task, by the name they have in params.yaml."""

from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.masked_lm import MASKED_LM
from pipeline.tasks.multi_label import MULTI_LABEL
from pipeline.tasks.multiple_choice import MULTIPLE_CHOICE
from pipeline.tasks.question_answering import QUESTION_ANSWERING
from pipeline.tasks.regression import REGRESSION
from pipeline.tasks.sequence_to_sequence import SEQUENCE_TO_SEQUENCE
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TOKEN_CLASSIFICATION

TASKS: dict[str, Task] = {
    task.kind: task
    for task in (
        CLASSIFICATION,
        MULTI_LABEL,
        REGRESSION,
        TOKEN_CLASSIFICATION,
        MULTIPLE_CHOICE,
        QUESTION_ANSWERING,
        MASKED_LM,
        SEQUENCE_TO_SEQUENCE,
    )
}
