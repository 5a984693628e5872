"""What the section `data` cannot say beside a kind of task."""

from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind, TaskSettings
from pipeline.text.corpus import DataSettings
from pipeline.text.tag_scheme import tag_fault

_SECOND_TEXTS: dict[Kind, str] = {
    "token_classification": "reads one text in each row",
    "multiple_choice": "has its choices as second texts",
    "question_answering": "has its question as the other text",
    "masked_lm": "joins its texts one by one",
    "sequence_to_sequence": "has the text that is to be written as the other text",
}
"""Kinds of task without a column `text_pair`, and why."""
_OF_DOCSTRINGS: frozenset[Kind] = frozenset(("classification", "masked_lm"))


def data_faults(data: DataSettings, kind: Kind) -> list[str]:
    """Return a line for each setting of `data` that does not go with this `task.kind`."""
    if data.source == "tokens":
        return []  # the table says what its labels are
    if data.source == "docstrings":
        if kind in _OF_DOCSTRINGS:
            return []
        return [
            "data.source: docstrings are labelled for a classification; set task.kind to that, or "
            f"read data of your own for {kind}"
        ]
    columns = data.columns
    is_choice, is_answer = kind == "multiple_choice", kind == "question_answering"
    is_written = kind == "sequence_to_sequence"
    refused = {
        "columns.target": columns.target is not None and not is_written,
        "columns.choices": columns.choices is not None and not is_choice,
        "columns.question": columns.question is not None and not (is_choice or is_answer),
        "columns.answer_start": columns.answer_start is not None and not is_answer,
        "columns.text_pair": columns.text_pair is not None and kind in _SECOND_TEXTS,
        "columns.label": isinstance(columns.label, tuple) and kind != "multi_label",
        "labels": data.labels is not None and not TASKS[kind].has_label_names,
    }
    reasons = {
        "columns.target": "only a sequence_to_sequence has texts that are to be written",
        "columns.choices": "only a multiple_choice has choices",
        "columns.question": "only a multiple_choice or a question_answering has a question beside "
        "its text",
        "columns.answer_start": "only a question_answering has answers that begin somewhere",
        "columns.text_pair": f"a {kind} {_SECOND_TEXTS.get(kind)}",
        "columns.label": "only a multi_label has several columns of labels",
        "labels": f"a {kind} has no names of labels",
    }
    faults = [
        f"data.{place}: {reasons[place]}; take it out, or set task.kind, which is {kind}"
        for place, is_refused in refused.items()
        if is_refused
    ]
    if is_choice and columns.choices is None:
        faults.append(
            "data.columns.choices: a multiple_choice needs the column with the lists of choices, "
            "or a column for each choice"
        )
    if is_written and columns.target is None:
        faults.append(
            "data.columns.target: a sequence_to_sequence needs the column of texts that are to be "
            "written"
        )
    if is_answer and columns.question is None:
        faults.append("data.columns.question: a question_answering needs the column of questions")
    return faults


def tag_faults(data: DataSettings, task: TaskSettings) -> list[str]:
    """Return a line where a metric counts entities and `data.labels` names none."""
    metrics = TASKS[task.kind].judged_by(task.metrics).metrics
    if data.source == "tokens" or "entity_f1" not in metrics:
        return []
    fault = tag_fault([*dict.fromkeys((data.names_by_value or {}).values())])
    return [] if fault is None else [f"data.labels: {fault}"]
