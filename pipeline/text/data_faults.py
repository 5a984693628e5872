"""What the section `data` cannot say beside a kind of task."""

from pipeline.tasks.task import Kind
from pipeline.text.corpus import DataSettings


def data_faults(data: DataSettings, kind: Kind) -> list[str]:
    """Return a line for each setting of `data` that does not go with this `task.kind`."""
    if data.source == "tokens":
        return []  # the table says what its labels are
    if data.source == "docstrings":
        if kind == "classification":
            return []
        return [
            "data.source: docstrings are labelled for a classification; set task.kind to that, or "
            f"read data of your own for {kind}"
        ]
    columns = data.columns
    is_choice = kind == "multiple_choice"
    one_text = "reads one text in each row" if not is_choice else "has its choices as second texts"
    refused = {
        "columns.choices": columns.choices is not None and not is_choice,
        "columns.question": columns.question is not None and not is_choice,
        "columns.text_pair": columns.text_pair is not None
        and kind in ("token_classification", "multiple_choice"),
        "columns.label": isinstance(columns.label, tuple) and kind != "multi_label",
        "labels": data.labels is not None and kind in ("regression", "multiple_choice"),
    }
    reasons = {
        "columns.choices": "only a multiple_choice has choices",
        "columns.question": "only a multiple_choice has a question beside its text",
        "columns.text_pair": f"a {kind} {one_text}",
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
    return faults
