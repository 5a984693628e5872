"""Students that are the teacher's architecture with fewer layers."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedModel

from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.settings import TransformerSettings
from pipeline.student.warm_start import copy_teacher_layers
from pipeline.tasks.task import Task


def build_student(
    settings: TransformerSettings, manifest: Manifest, store_dir: Path, task: Task
) -> PreTrainedModel:
    """Return a new student; without a warm start its weights come from torch's generator.

    Raises:
        SettingsError: the warm start names layers that do not fit.
        CheckpointError: the store does not carry the teacher's weights.
    """
    config: Any = AutoConfig.from_pretrained(store_dir / TEACHER_FOLDER)
    config.num_hidden_layers = settings.n_layers
    student = task.auto_model.from_config(config)
    assert isinstance(student, PreTrainedModel)
    layers = settings.teacher_layers(manifest.teacher.n_layers)
    if layers:
        copy_teacher_layers(student, store_dir / TEACHER_FOLDER, layers)
    return student
