"""One distillation of a small student, for programs that kill it or share it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pipeline.metrics.scores import validate
from pipeline.tasks import TASKS
from pipeline.text.tokens import open_tokens
from pipeline.train.distill import distill
from pipeline.train.resume import ResumableTraining
from pipeline.train.student import StudentData, resolve_student

STUDENT: dict[str, Any] = {
    "model": {"n_layers": 2, "warm_start": "every"},
    "objectives": {
        "hard_label": {"weight": 0.5},
        "soft_target": {"weight": 0.5},
        "cls": {"layer_map": "skip"},
        "attentions": {"layer_map": "uniform"},
    },
}
# 60 rows: 8 steps an epoch.
TRAINING = {
    "epochs": 5,
    "batch_size": 8,
    "micro_batch_size": 3,
    "learning_rate": 1e-3,
    "validations_per_epoch": 2,
}


def distill_small(
    store_dir: Path,
    tokens_dir: Path,
    folder: Path,
    accelerator: Accelerator,
    *,
    training: Mapping[str, Any],
    seconds_between_saves: float = 60.0,
) -> None:
    """Train `STUDENT` as `TRAINING` says, but for `training`; the settings are its inputs."""
    tokens, task = open_tokens(tokens_dir), TASKS["classification"]
    params = {"students": {"a": STUDENT}, "training": {**TRAINING, **training}}
    student = resolve_student(params, "a")
    inputs = {"settings": json.dumps(dict(training))}
    distill(
        student,
        StudentData(student.view(store_dir, tokens), store_dir, tokens, task),
        folder,
        ResumableTraining(folder.with_name("unfinished"), inputs, seconds_between_saves),
        partial(validate, task),
        accelerator,
    )
