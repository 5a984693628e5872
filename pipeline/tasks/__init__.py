"""The kinds of task, by the name they have in params.yaml."""

from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Task

TASKS: dict[str, Task] = {task.kind: task for task in (CLASSIFICATION,)}
