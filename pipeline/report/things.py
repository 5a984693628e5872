"""What a prediction is called in the report, by what it is about."""

from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind, Unit

_THINGS: dict[Unit, str] = {
    "row": "rows",
    "label": "answers",
    "token": "words",
    "choice": "questions",
    "span": "ends of answers",
    "piece": "word pieces",
}


def things_of(kind: Kind) -> str:
    """Return the word for some predictions of a kind of task."""
    return _THINGS[TASKS[kind].predicts]
