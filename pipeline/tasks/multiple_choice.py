"""Which of several answers to a question is right.

Each choice is a row, a text and the choice; a question is a group of rows.
"""

from pipeline.tasks.task import Task

MULTIPLE_CHOICE = Task(
    kind="multiple_choice",
    auto_class="AutoModelForMultipleChoice",
    predicts="choice",
    label_kind="choice",
    metrics=("accuracy", "expected_calibration_error"),
)
