"""Projects that `decant new` makes of small data, for each kind of task."""

import json
from pathlib import Path
from typing import Any

from click.testing import Result

from pipeline.tasks.task import Kind
from tests.stages.conftest import invoke
from tests.tasks.small_tasks import COLUMNS, make_rows, make_teacher

SIZES = {"train": 40, "validation": 16, "test": 12}


def options_of(columns: dict[str, Any]) -> list[str]:
    """Return columns as options of `decant new`."""
    return [part for name, column in columns.items() for part in (option(name), column)]


def option(name: str) -> str:
    """Return the option for a setting of `data.columns`."""
    return f"--{name.replace('_', '-')}"


def write_rows(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write splits as JSON lines."""
    folder.mkdir(parents=True)
    for split, of_split in rows.items():
        lines = "".join(json.dumps(row) + "\n" for row in of_split)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def new_project(folder: Path, kind: Kind, *options: str, data: Path | None = None) -> Result:
    """Make the project `folder/project` from `folder`, with a tiny teacher beside it."""
    if data is None:
        data = folder / "rows"
        made = {split: make_rows(kind, n, seed) for seed, (split, n) in enumerate(SIZES.items())}
        write_rows(data, made)
        columns = COLUMNS.get(kind, {"text": "text", "label": "label"})
        options = (*options_of(columns), *options)
    if not (folder / "base").exists():
        make_teacher(folder / "base", kind)
    return invoke(
        *("new", str(folder / "project"), "--data", str(data), "--teacher", str(folder / "base")),
        *("--task", kind, *options),
    )
