"""A small project under real DVC and git for each kind of task, with a tiny random teacher."""

import shutil
from pathlib import Path
from typing import Any

from pipeline.project.presets import find_preset
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from tests.dvc_project import DvcProject, make_dvc_project
from tests.tasks.small_tasks import COLUMNS, LABELS, make_teacher, write_data
from tests.text.test_public_data import DATA

STUDENT, STORE = "kd-1", "artifacts/teacher_store"
LOOKED_INTO: Kind = "token_classification"
"""The task whose store is read by every command, and whose student is exported."""
N_TEST = 12
ROWS = {"train": 40, "validation": 16, "test": N_TEST}
PUBLIC: dict[str, tuple[Kind, str]] = {
    "conll2003": ("token_classification", "conll2003"),
    "race_middle": ("multiple_choice", "race/middle"),
    "mrpc": ("classification", "glue/mrpc"),
    "wikitext2_subset": ("masked_lm", "wikitext-2"),
}


def _capture(kind: Kind) -> dict[str, Any]:
    """Return the section `capture`; a decoder has no [CLS], and the vocabulary has 32 pieces."""
    logits: dict[str, Any] = {"encoding": "float32"}
    if TASKS[kind].predicts == "piece":
        logits["top_k"] = 8
    of_cls = None if kind == "sequence_to_sequence" else {"encoding": "float16"}
    return {"signals": {"logits": logits, "cls": of_cls}}


def _written_for(kind: Kind) -> list[str]:
    """Return the splits that the teacher writes texts for."""
    return ["train", "validation", "test"] if kind == "sequence_to_sequence" else []


def _targets(kind: Kind) -> dict[str, str]:
    """Let a student learn to write the data's texts, and the teacher's too."""
    return {"targets": "both"} if kind == "sequence_to_sequence" else {}


def make_task_project(folder: Path, kind: Kind, data_set: str | None) -> DvcProject:
    """Write a project of the test's own rows, or of some of a public data set."""
    asks_for_pieces = TASKS[kind].predicts == "piece"
    objectives = {
        "hard_label": {"weight": 0.5},
        "logit_match" if kind == "regression" else "soft_target": (
            {"temperature": 1.0} if asks_for_pieces else {}
        ),
    }
    if kind != "sequence_to_sequence":
        objectives["cls"] = {"layer_map": [[1, 2]]}
    data: dict[str, Any] = {"source": "files", "path": "data", "columns": COLUMNS.get(kind, {})}
    task: dict[str, Any] = {"kind": kind}
    labels = LABELS[kind]
    if data_set is not None:
        preset = find_preset(PUBLIC[data_set][1]).settings
        of_preset = {
            key: preset["data"][key] for key in ("columns", "labels") if key in preset["data"]
        }
        data |= {**of_preset, "max_rows": ROWS}
        task, labels = preset["task"], tuple(of_preset.get("labels", labels))
    # Questions about texts are then read in several windows each.
    max_length = 16 if kind == "question_answering" else 64
    project = make_dvc_project(
        folder / "project",
        tokenizer={"checkpoint": "base", "max_length": max_length},
        data=data,
        task=task,
        students={STUDENT: {"model": {"n_layers": 1}, "objectives": objectives, **_targets(kind)}},
        generation={"splits": _written_for(kind), "num_beams": 2},
        capture=_capture(kind),
        training={"epochs": 1, "batch_size": 16},
        export={
            "students": [STUDENT] if kind == LOOKED_INTO else [],
            "int8": False,
            "license": "unknown",
        },
    )
    for name in ("data", "base"):
        shutil.rmtree(project.folder / name)
    if data_set is None:
        write_data(project.folder / "data", kind, N_TEST)
    else:
        shutil.copytree(DATA / data_set, project.folder / "data", copy_function=shutil.copyfile)
        (project.folder / "data").chmod(0o755)
    make_teacher(project.folder / "base", kind, labels)
    project.commit("another task")
    return project
