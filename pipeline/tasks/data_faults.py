"""What the section `data` cannot say beside a kind of task."""

from pipeline.tasks import TASKS
from pipeline.tasks.tag_scheme import tag_fault
from pipeline.tasks.task import Kind, TaskSettings
from pipeline.text.corpus import DataSettings

_SETTINGS = ("target", "choices", "question", "answer_start", "text_pair")
"""Settings of `data.columns` that only some kinds read."""
_NEEDED = {
    "choices": "the column with the lists of choices, or a column for each choice",
    "target": "the column of texts to be written",
    "question": "the column of questions",
}


def data_faults(data: DataSettings, kind: Kind) -> list[str]:
    """Return a line for each setting of `data` that does not go with this `task.kind`."""
    task, columns = TASKS[kind], data.columns
    if data.source == "tokens":
        return []  # the table says what its labels are
    if data.source == "docstrings":
        if task.reads_docstrings:
            return []
        return [
            "data.source: docstrings are labelled for a classification; set task.kind to that, or "
            f"read data of your own for {kind}"
        ]
    faults = [
        f"data.columns.{name}: only {_readers(name)} reads this column; take it out, or set "
        f"task.kind, which is {kind}"
        for name in _SETTINGS
        if getattr(columns, name) is not None and name not in task.columns
    ]
    if isinstance(columns.label, tuple) and "label" not in task.columns.several:
        faults.append(
            "data.columns.label: only a multi_label has several columns of labels; take it out, or "
            f"set task.kind, which is {kind}"
        )
    if data.labels is not None and not task.has_label_names:
        faults.append(
            f"data.labels: a {kind} has no label names; take it out, or set task.kind, which is "
            f"{kind}"
        )
    return faults + [
        f"data.columns.{name}: a {kind} needs {what}"
        for name, what in _NEEDED.items()
        if name in task.columns.needed and getattr(columns, name) is None
    ]


def _readers(name: str) -> str:
    *kinds, last = [kind for kind, task in TASKS.items() if name in task.columns]
    return f"{', '.join(kinds)} or {last}" if kinds else last


def tag_faults(data: DataSettings, task: TaskSettings) -> list[str]:
    """Return a line where a metric counts entities and `data.labels` names none."""
    metrics = TASKS[task.kind].judged_by(task.metrics).metrics
    if data.source == "tokens" or "entity_f1" not in metrics:
        return []
    fault = tag_fault([*dict.fromkeys((data.names_by_value or {}).values())])
    return [] if fault is None else [f"data.labels: {fault}"]
