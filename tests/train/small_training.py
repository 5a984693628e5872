"""One distillation of a small student, for programs that kill it or share it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pipeline.core.settings import parse_section
from pipeline.metrics.validated import validate
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.store.view import make_view
from pipeline.student.model import model_of, models_of
from pipeline.tasks import TASKS
from pipeline.text.tokens import open_tokens
from pipeline.train.distill import distill
from pipeline.train.settings import StudentSettings, TrainingSettings

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
    tokens = open_tokens(tokens_dir)
    settings = parse_section(StudentSettings, STUDENT, "students.a")
    model, manifest = model_of(settings.model, "students.a"), read_manifest(store_dir)
    arrays = settings.objectives.needs(models_of(model, manifest)).teacher | {Array(LOGITS)}
    distill(
        "a",
        make_view(store_dir, manifest, tokens, arrays),
        store_dir,
        tokens,
        TASKS["classification"],
        model,
        settings,
        TrainingSettings.model_validate({**TRAINING, **training}),
        folder,
        judge=partial(validate, TASKS["classification"], tokens.labels),
        inputs={"settings": json.dumps(dict(training))},
        unfinished_dir=folder.with_name("unfinished"),
        seconds_between_saves=seconds_between_saves,
        accelerator=accelerator,
    )
