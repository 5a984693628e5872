"""The kinds of task, by the name they have in params.yaml."""

from pipeline.core.errors import DataError
from pipeline.tasks.classification import Classification
from pipeline.tasks.masked_lm import MaskedLm
from pipeline.tasks.multi_label import MultiLabel
from pipeline.tasks.multiple_choice import MultipleChoice
from pipeline.tasks.question_answering import QuestionAnswering
from pipeline.tasks.regression import Regression
from pipeline.tasks.sequence_to_sequence import SequenceToSequence
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TokenClassification
from pipeline.text.tokens import Tokens

TASKS: dict[str, Task] = {
    task.kind: task
    for task in (
        Classification(),
        MultiLabel(),
        Regression(),
        TokenClassification(),
        MultipleChoice(),
        QuestionAnswering(),
        MaskedLm(),
        SequenceToSequence(),
    )
}


def task_of(tokens: Tokens) -> Task:
    """Return the task that a token table was made for.

    Raises:
        DataError: there is no such task.
    """
    for task in TASKS.values():
        if task.label_kind == tokens.label_kind:
            return task
    raise DataError(f"no task has labels of the kind '{tokens.label_kind}'")
