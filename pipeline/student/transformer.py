"""Students that are the teacher's architecture with fewer layers."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from pipeline.store.manifest import Manifest
from pipeline.store.spec import TEACHER_FOLDER
from pipeline.student.config import student_config
from pipeline.student.settings import TransformerSettings
from pipeline.student.warm_start import copy_teacher_layers
from pipeline.tasks.task import Task


def build_student(
    settings: TransformerSettings, manifest: Manifest, store_dir: Path, task: Task
) -> PreTrainedModel:
    """Return a new student; without a warm start its weights come from torch's generator.

    Its weights are of float32, whatever the teacher's are.

    Raises:
        SettingsError: the warm start names layers that do not fit.
        CheckpointError: the store does not carry the teacher's weights, or its architecture
            leaves no way to make such a student.
    """
    teacher_folder = store_dir / TEACHER_FOLDER
    layers = settings.teacher_layers(manifest.teacher.n_layers)
    config = student_config(teacher_folder, settings.n_layers, layers)
    # The teacher's weights may be of 16 bits, in which small steps would be rounded away.
    student = task.auto_model.from_config(config, dtype=torch.float32)
    assert isinstance(student, PreTrainedModel)
    if layers:
        copy_teacher_layers(student, teacher_folder, layers)
    return student
