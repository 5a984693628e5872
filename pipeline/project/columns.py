"""The columns that each kind of task reads, as options of `decant new`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.tasks import TASKS
from pipeline.tasks.columns import Columns
from pipeline.tasks.task import Kind

NO_COLUMNS = ("label_separator", "unlabelled")
"""Settings of columns that name none."""
_VALUES = {"label_separator": "TEXT", "unlabelled": "VALUE", "labels": "NAMES"}


def option(name: str) -> str:
    """Return the option of `decant new` for a setting of `data.columns`."""
    return f"--{name.replace('_', '-')}"


def written(name: str, value: str | Sequence[str]) -> str:
    """Return the option with its value, or values, as a command line has it."""
    values = (value,) if isinstance(value, str) else value
    return " ".join(f"{option(name)} {one}" for one in values)


def option_faults(kind: Kind, given: Mapping[str, Any]) -> list[str]:
    """Return a line for each option that is missing for a kind of task, or is another's.

    `given` are the settings of `data.columns` by name, those that are known.
    """
    columns = TASKS[kind].columns
    usage = f"it takes {_usage(columns)}"
    faults = []
    for name in given:
        if name in columns:
            continue
        others = [other for other, task in TASKS.items() if name in task.columns]
        faults.append(f"{option(name)} is for --task {' or '.join(others)}, not {kind}; {usage}")
    missing = [option(name) for name in columns.needed if name not in given]
    if missing:
        faults.append(f"--task {kind} needs {' and '.join(missing)}; {usage}")
    for name, value in given.items():
        if isinstance(value, str) or name in columns.several:
            continue
        others = [other for other, task in TASKS.items() if name in task.columns.several]
        faults.append(
            f"{option(name)} is given {len(value)} times; only --task {' or '.join(others)} reads "
            f"several such columns, not {kind}"
        )
    return faults


def _usage(columns: Columns) -> str:
    def shown(name: str) -> str:
        several = " ..." if name in columns.several else ""
        return f"{option(name)} {_VALUES.get(name, 'COLUMN')}{several}"

    needed = [shown(name) for name in columns.needed]
    return " ".join([*needed, *(f"[{shown(name)}]" for name in columns.optional)])


def named_columns(
    columns: Mapping[str, str | tuple[str, ...]], split: str
) -> list[tuple[str, str]]:
    """Return each column that must be in the file of a split, behind the setting that names it.

    A test file may lack labels and targets, and a file of unlabelled rows has no labels.
    """
    absent = {"test": ("label", "answer_start", "target"), "unlabelled": ("label", "answer_start")}
    found = []
    for name, value in columns.items():
        if name in NO_COLUMNS or name in absent.get(split, ()):
            continue
        found += [(name, one) for one in ((value,) if isinstance(value, str) else value)]
    return found
